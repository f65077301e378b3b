//! The f32 functions whose error is bounded, and how it is measured: in units of the last place of the exact value, for
//! which f64 `libm` stands. `cargo run --release -p exported-bench ulp` includes this file.

use exported_runtime::{Level, Op, Simd, dispatch, scalar};

/// A function of one f32.
pub struct Function {
    /// What [`scalar`] calls it.
    pub name: &'static str,
    /// Most units in the last place, at every level.
    pub bound: f64,
    /// The function itself.
    exact: fn(f64) -> f64,
    /// Where the bound holds.
    domain: fn(f32) -> bool,
    run: fn(Level, &[f32], &mut [f32]),
}

/// The greatest error found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// Units in the last place.
    pub ulp: f64,
    /// The argument.
    pub at: f32,
    /// The result.
    pub got: f32,
}

fn everywhere(_: f32) -> bool {
    true
}

macro_rules! functions {
    ($($name:ident <= $bound:expr, $exact:expr $(, $domain:expr)?;)*) => {
        /// All of them.
        pub const FUNCTIONS: &[Function] = &[$({
            struct Block<'a>(&'a [f32], &'a mut [f32]);
            impl Op for Block<'_> {
                type Output = ();
                #[inline(always)]
                fn call<S: Simd>(self, s: S) {
                    for (y, x) in self.1.iter_mut().zip(self.0) {
                        *y = scalar::$name(s, *x);
                    }
                }
            }
            #[allow(unused_mut, unused_assignments)]
            let mut domain: fn(f32) -> bool = everywhere;
            $(domain = $domain;)?
            Function {
                name: stringify!($name),
                bound: $bound,
                exact: $exact,
                domain,
                run: |level, x, y| dispatch(level, Block(x, y)),
            }
        }),*];
    };
}
functions! {
    exp <= 1.1, libm::exp;
    exp2 <= 1.1, libm::exp2;
    expm1 <= 2.0, libm::expm1;
    // Below, exp(-x) overflows, and the result is 0, as PyTorch's is.
    sigmoid <= 2.5, |x| 1.0 / (1.0 + libm::exp(-x)), |x| x.is_nan() || x >= -87.0;
    tanh <= 2.5, libm::tanh;
    log <= 1.0, libm::log;
    log2 <= 1.0, libm::log2;
    log10 <= 1.0, libm::log10;
    log1p <= 1.5, libm::log1p;
    sin <= 2.5, libm::sin;
    cos <= 2.5, libm::cos;
    tan <= 3.6, libm::tan;
    asin <= 2.5, libm::asin;
    acos <= 1.5, libm::acos;
    atan <= 3.0, libm::atan;
    sinh <= 2.0, libm::sinh;
    cosh <= 1.5, libm::cosh;
    asinh <= 2.0, libm::asinh;
    acosh <= 2.0, |x| if x >= 1.0 { libm::acosh(x) } else { f64::NAN };
    atanh <= 2.0, libm::atanh;
    erf <= 1.2, libm::erf;
    erfc <= 2.0, libm::erfc;
    sqrt <= 0.5, libm::sqrt;
    rsqrt <= 1.5, |x| 1.0 / libm::sqrt(x);
}

/// The levels of this machine.
pub fn levels() -> Vec<Level> {
    let all = [
        Level::Portable,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512,
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Level::Neon,
    ];
    all.into_iter().filter(|level| *level <= Level::detect()).collect()
}

impl Function {
    /// The greatest error on these arguments at each of the levels.
    pub fn worst(&self, levels: &[Level], arguments: impl Iterator<Item = f32>) -> Vec<Worst> {
        const BLOCK: usize = 4096;
        let mut worst = vec![Worst::default(); levels.len()];
        let mut arguments = arguments.filter(|x| (self.domain)(*x)).peekable();
        let (mut x, mut y) = (Vec::with_capacity(BLOCK), vec![0.0; BLOCK]);
        while arguments.peek().is_some() {
            x.clear();
            x.extend(arguments.by_ref().take(BLOCK));
            let exact: Vec<f64> = x.iter().map(|x| (self.exact)(f64::from(*x))).collect();
            for (level, worst) in levels.iter().zip(&mut worst) {
                (self.run)(*level, &x, &mut y);
                for ((&at, &got), &exact) in x.iter().zip(&y).zip(&exact) {
                    let ulp = distance(got, exact);
                    if ulp > worst.ulp {
                        *worst = Worst { ulp, at, got };
                    }
                }
            }
        }
        worst
    }
}

/// Of `y` from the exact value, in units of the last place of the exact value.
fn distance(y: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if y.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if !y.is_finite() || !rounded.is_finite() {
        // One step beyond the largest number is infinity.
        let edge = y.abs() == f32::MAX || rounded.abs() == f32::MAX;
        let near = y == rounded || edge && y.signum() == rounded.signum();
        return if y == rounded {
            0.0
        } else if near {
            1.0
        } else {
            f64::INFINITY
        };
    }
    let exponent = (rounded.abs().to_bits() >> 23).max(1) as i32;
    (f64::from(y) - exact).abs() / 2f64.powi(exponent - 150)
}
