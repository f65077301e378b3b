//! Tests across the parts of this module, and what they share: a small deterministic generator of expressions.

mod properties;
mod rules;
mod texts;

use super::*;

/// A linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    /// A number in `lo..=hi`.
    fn int(&mut self, lo: i64, hi: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        lo + (self.0 >> 33) as i64 % (hi - lo + 1)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.int(0, choices.len() as i64 - 1) as usize]
    }
}

/// Symbols of random expressions.
const SYMBOLS: [&str; 3] = ["s0", "s1", "u2"];

fn op<const N: usize>(func: Func, args: [Expr; N]) -> Expr {
    Expr::Op(func, args.into())
}

/// An integer expression exactly as drawn, nothing simplified.
fn unsimplified(random: &mut Random, depth: u32) -> Expr {
    use Func::*;
    if depth == 0 || random.int(0, 9) == 0 {
        return match random.int(0, 2) {
            0 => Expr::Int(random.int(-7, 7)),
            _ => Expr::symbol(random.pick(&SYMBOLS)),
        };
    }
    let sub = |random: &mut Random| unsimplified(random, depth - 1);
    match random.int(0, 19) {
        0..=4 => op(Add, [sub(random), sub(random), sub(random)]),
        5..=7 => op(Mul, [sub(random), sub(random)]),
        8..=10 => {
            let divisor = if random.int(0, 3) == 0 { sub(random) } else { Expr::Int(random.int(-6, 6)) };
            op(FloorDiv, [sub(random), divisor])
        }
        11..=12 => {
            let divisor = if random.int(0, 3) == 0 { sub(random) } else { Expr::Int(random.int(-6, 6)) };
            op(Mod, [sub(random), divisor])
        }
        13 => op(Max, [sub(random), sub(random), sub(random)]),
        14 => op(Min, [sub(random), sub(random), sub(random)]),
        15 => op(Pow, [sub(random), Expr::Int(random.int(0, 3))]),
        16 => op(random.pick(&[LShift, RShift]), [sub(random), Expr::Int(random.int(0, 3))]),
        17 => {
            let scaled = op(Mul, [Expr::float(random.pick(&[0.5, 1.7, -2.25])), op(ToFloat, [sub(random)])]);
            op(random.pick(&[TruncToInt, FloorToInt, CeilToInt, RoundToInt]), [scaled])
        }
        18 => op(LShift, [sub(random), op(Max, [Expr::Int(0), op(Min, [Expr::Int(3), sub(random)])])]),
        _ => op(Ite, [unsimplified_condition(random, depth - 1), sub(random), sub(random)]),
    }
}

fn unsimplified_condition(random: &mut Random, depth: u32) -> Expr {
    use Func::*;
    if depth > 0 && random.int(0, 3) == 0 {
        let (a, b) = (unsimplified_condition(random, depth - 1), unsimplified_condition(random, depth - 1));
        return match random.int(0, 2) {
            0 => op(And, [a, b]),
            1 => op(Or, [a, b]),
            _ => op(Not, [a]),
        };
    }
    let func = random.pick(&[Eq, Ne, Lt, Le, Gt, Ge]);
    op(func, [unsimplified(random, depth), unsimplified(random, depth)])
}

/// The expression as the constructors build it.
fn simplified(e: &Expr) -> Expr {
    match e {
        Expr::Op(func, args) => Expr::apply(*func, args.iter().map(simplified).collect()),
        _ => e.clone(),
    }
}
