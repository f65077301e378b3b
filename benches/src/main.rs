//! Kernel speed per layer shape, against the peak of this machine at the same level: `cargo run --release -p
//! exported-bench [FILTER [LEVEL]]`. One core, minimum over batches; a shared machine can only make figures worse. The peak is measured
//! again before and after each layer, for a machine's clock changes with what its other cores do.
//!
//! `cargo run --release -p exported-bench ulp [FILTER [STEP]]` measures the error of the f32 functions instead, over every
//! STEP-th argument there is (all of them unless told).

mod layers;
mod time;
mod ulp;

use exported_runtime::Level;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    if filter == "ulp" {
        let step = std::env::args().nth(3).and_then(|step| step.parse().ok()).unwrap_or(1);
        return ulp::print(&std::env::args().nth(2).unwrap_or_default(), step);
    }
    let level = match std::env::args().nth(2).as_deref() {
        Some("portable") => Level::Portable,
        #[cfg(target_arch = "x86_64")]
        Some("avx2") => Level::detect().min(Level::Avx2),
        _ => Level::detect(),
    };
    let mut before = time::peak(level);
    println!("level {level:?}, peak {before:.1} GFLOP/s");
    for layer in layers::all() {
        if layer.name.contains(&filter) {
            let measured = layer.measure(level);
            let after = time::peak(level);
            let peak = before.max(after);
            before = after;
            for (kernel, ns) in &measured {
                let gflops = layer.flop() as f64 / ns;
                let weights = layer.weight_bytes() as f64 / ns;
                println!(
                    "{:<40} {kernel:<11} {:>10.2} us {gflops:>7.1} GFLOP/s {:>5.1} % {weights:>7.1} GB/s of weights, {:.2} x",
                    layer.name,
                    ns / 1e3,
                    100.0 * gflops / peak,
                    measured[0].1 / ns
                );
            }
        }
    }
}
