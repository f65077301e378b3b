//! The error of f32 functions, over every `step`-th of all 2^32 arguments.

#[path = "../../runtime/tests/ulp/table.rs"]
mod table;

use table::{FUNCTIONS, levels};

/// Prints the table; `filter` is part of a name.
pub fn print(filter: &str, step: usize) {
    let levels = levels();
    println!("greatest error in ULP over every {step}-th f32, at {levels:?}");
    for function in FUNCTIONS.iter().filter(|function| function.name.contains(filter)) {
        let arguments = (0..=u32::MAX).step_by(step).map(f32::from_bits);
        print!("{:<8} <= {}", function.name, function.bound);
        for worst in function.worst(&levels, arguments) {
            print!("   {:.3} at {:e} ({:e})", worst.ulp, worst.at, worst.got);
        }
        println!();
    }
}
