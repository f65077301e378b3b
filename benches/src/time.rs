//! Timing, and the peak to compare with.

use exported_runtime::{Level, Op, Simd, Vector, dispatch};
use std::hint::black_box;
use std::time::Instant;

/// Least time of one call, in ns.
pub fn least(mut work: impl FnMut()) -> f64 {
    work();
    let start = Instant::now();
    work();
    let once = start.elapsed().as_nanos().max(20) as f64;
    let calls = (100_000.0 / once).clamp(1.0, 5_000.0) as usize;
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let start = Instant::now();
        for _ in 0..calls {
            work();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    best
}

/// Chains of multiply-adds without memory: enough of them to hide the latency.
struct Chains(u32);

impl Op for Chains {
    /// The sum, and the lanes of a vector.
    type Output = (f32, usize);
    #[inline(always)]
    fn call<S: Simd>(self, s: S) -> (f32, usize) {
        let (a, b) = (S::F32::splat(s, black_box(0.999)), S::F32::splat(s, black_box(0.001)));
        let mut sums = [S::F32::splat(s, 1.0); 12];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = sum.mul_add(s, a, b);
            }
        }
        let mut total = [0.0f32; 16];
        sums.into_iter().fold(a, |total, sum| total.add(s, sum)).store(s, &mut total);
        (total[0], S::F32::LANES)
    }
}

/// GFLOP/s of a level's multiply-add.
pub fn peak(level: Level) -> f64 {
    let steps = 2_000;
    let mut lanes = 0;
    let ns = least(|| {
        lanes = black_box(dispatch(level, Chains(steps))).1;
    });
    f64::from(steps) * 12.0 * lanes as f64 * 2.0 / ns
}
