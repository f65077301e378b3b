//! The errors of f32 functions stay below the bounds that their documentation states, at every level of this machine.

mod table;

use table::{FUNCTIONS, levels};

fn within(arguments: impl Iterator<Item = f32> + Clone) {
    let levels = levels();
    let mut faults = Vec::new();
    for function in FUNCTIONS {
        for (level, worst) in levels.iter().zip(function.worst(&levels, arguments.clone())) {
            if worst.ulp > function.bound {
                let (name, bound) = (function.name, function.bound);
                let table::Worst { ulp, at, got } = worst;
                faults
                    .push(format!("{name} {level:?}: {ulp} ULP at {at:e}, which gives {got:e}; the bound is {bound}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn over_all_exponents() {
    // A prime step visits all exponents and mantissa patterns.
    within((0..=u32::MAX).step_by(8209).map(f32::from_bits));
}

#[test]
fn where_functions_bend() {
    within((0..400_000).map(|i| -20.0 + i as f32 * 1e-4));
}

#[test]
fn at_the_edges() {
    let edges =
        [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-45];
    within(edges.into_iter());
}
