//! Offsets of arena buffers.
//!
//! Takes [`Steps`] with the ranges of symbols (sizes are planned for the largest call); gives a [`Plan`]. A buffer lives
//! from the first to the last step that touches it, outputs to the end. Placing is greedy (each buffer at the lowest gap
//! among those alive with it) over several orders, then a bounded, deterministic search perturbs the best order; it ends
//! at once when the liveness lower bound is reached, which no plan can beat. [`check`] shares no code with the search.

mod layout;

pub use layout::Layout;

use crate::diag::{Diagnostic, Errors};
use crate::lower::{BufferId, Steps, Storage, Work};
use crate::sym::Ranges;

/// Offsets are multiples of this, enough for every element type and for aligned vector loads of 16 bytes.
pub const ALIGN: usize = 16;

/// The memory plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Byte offset of each buffer in the arena; `None` for those that live elsewhere.
    pub offsets: Vec<Option<usize>>,
    /// Bytes of each buffer at the greatest sizes, wherever it lives.
    pub sizes: Vec<usize>,
    /// First and last step that touch each planned buffer.
    pub lives: Vec<Option<(usize, usize)>>,
    /// Bytes of the arena.
    pub bytes: usize,
    /// Greatest sum of sizes alive at one step: no plan needs less.
    pub lower_bound: usize,
    /// The step at which that sum is reached.
    pub peak_step: usize,
}

/// Plans the arena; offsets are multiples of `align`, itself a multiple of [`ALIGN`].
///
/// # Errors
/// Buffers without an upper bound or too large for any target.
pub fn plan(steps: &Steps, ranges: &Ranges, align: usize) -> Result<Plan, Errors> {
    let mut errors = Errors::default();
    let mut sizes = Vec::with_capacity(steps.buffers.len());
    for buffer in &steps.buffers {
        let elements = buffer.len.interval(ranges).max.and_then(|n| usize::try_from(n.max(0)).ok());
        match elements.and_then(|n| n.checked_mul(buffer.dtype.size())).filter(|&b| b < 1 << 40) {
            Some(bytes) => sizes.push(bytes),
            None => {
                errors.push(Diagnostic::violated(format!(
                    "`{}` has no greatest size ({} elements)",
                    buffer.name, buffer.len
                )));
                sizes.push(0);
            }
        }
    }
    let lives = lives(steps);
    let blocks: Vec<Block> = (0..sizes.len())
        .filter_map(|i| {
            lives[i].map(|(first, last)| Block { buffer: i, size: sizes[i].next_multiple_of(align), first, last })
        })
        .collect();
    let (lower_bound, peak_step) = lower_bound(&blocks, steps.steps.len());
    let placed = search(&blocks, lower_bound);
    let mut plan = Plan { offsets: vec![None; sizes.len()], sizes, lives, bytes: 0, lower_bound, peak_step };
    for (block, offset) in blocks.iter().zip(placed) {
        plan.offsets[block.buffer] = Some(offset);
        plan.bytes = plan.bytes.max(offset + block.size);
    }
    if let Err(fault) = check(&plan) {
        errors.push(fault);
    }
    errors.into_result(plan)
}

/// The overlap checker: buffers alive at one step never share a byte, and all lie inside the arena, aligned.
///
/// # Errors
/// A fault of ours that names two buffers.
pub fn check(plan: &Plan) -> Result<(), Diagnostic> {
    let planned = |i: usize| Some((plan.offsets[i]?, plan.sizes[i], plan.lives[i]?));
    for a in 0..plan.offsets.len() {
        let Some((a_offset, a_size, a_life)) = planned(a) else { continue };
        if a_offset % ALIGN != 0 || a_offset + a_size > plan.bytes {
            return Err(Diagnostic::bug(format!("buffer {a} lies outside the arena or is not aligned")));
        }
        for b in 0..a {
            let Some((b_offset, b_size, b_life)) = planned(b) else { continue };
            let in_time = a_life.0 <= b_life.1 && b_life.0 <= a_life.1;
            let in_space = a_offset < b_offset + b_size && b_offset < a_offset + a_size;
            if in_time && in_space {
                return Err(Diagnostic::bug(format!("buffers {b} and {a} overlap in the arena while both are alive")));
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Block {
    buffer: usize,
    size: usize,
    first: usize,
    last: usize,
}

impl Block {
    fn meets(&self, other: &Block) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// First and last step of every planned buffer that is touched at all; inputs in the workspace live from the first. Branches are alternatives that stand one after
/// the other, so that what only one of them needs never meets what only the other needs. What a loop touches that is also
/// touched outside it lives through all its rounds.
fn lives(steps: &Steps) -> Vec<Option<(usize, usize)>> {
    let mut touched: Vec<Vec<usize>> = vec![Vec::new(); steps.buffers.len()];
    for (index, step) in steps.steps.iter().enumerate() {
        step.work.buffers().into_iter().for_each(|BufferId(b)| touched[b as usize].push(index));
    }
    for region in steps.outputs.iter().flatten() {
        touched[region.buffer.0 as usize].push(steps.steps.len());
    }
    let loops: Vec<(usize, usize)> = steps
        .steps
        .iter()
        .enumerate()
        .filter_map(|(end, step)| match step.work {
            Work::Jump { to } if to <= end => Some((to, end)),
            _ => None,
        })
        .collect();
    let life = |(touched, buffer): (Vec<usize>, &crate::lower::Buffer)| {
        if !buffer.storage.is_planned() {
            return None;
        }
        let entered = matches!(buffer.storage, Storage::Entered(_)).then_some(0);
        let (mut first, mut last) = (entered.or(touched.first().copied())?, touched.last().copied().or(entered)?);
        for &(head, end) in &loops {
            let inside = |step: &usize| (head..=end).contains(step);
            if touched.iter().any(inside) && !touched.iter().all(inside) {
                (first, last) = (first.min(head), last.max(end));
            }
        }
        Some((first, last))
    };
    touched.into_iter().zip(&steps.buffers).map(life).collect()
}

fn lower_bound(blocks: &[Block], steps: usize) -> (usize, usize) {
    let alive =
        |step: usize| blocks.iter().filter(|b| b.first <= step && step <= b.last).map(|b| b.size).sum::<usize>();
    let peaks = (0..=steps).map(|step| (alive(step), step));
    peaks.fold((0, 0), |best, peak| if peak.0 > best.0 { peak } else { best })
}

/// Offsets, one per block.
fn search(blocks: &[Block], lower_bound: usize) -> Vec<usize> {
    let neighbours: Vec<Vec<usize>> =
        blocks.iter().map(|a| (0..blocks.len()).filter(|&b| a.meets(&blocks[b])).collect()).collect();
    let duration = |b: &Block| b.last - b.first + 1;
    let mut orders: Vec<Vec<usize>> = Vec::new();
    let mut sorted = |key: &dyn Fn(&Block) -> (usize, usize)| {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(key(&blocks[i])));
        orders.push(order);
    };
    sorted(&|b| (b.size, duration(b)));
    sorted(&|b| (duration(b), b.size));
    sorted(&|b| (b.size * duration(b), b.size));
    sorted(&|b| (usize::MAX - b.first, b.size));
    sorted(&|b| (b.last, b.size));
    let mut best: Option<(usize, Vec<usize>, Vec<usize>)> = None;
    let mut consider = |order: Vec<usize>| -> bool {
        let (bytes, offsets) = place(blocks, &neighbours, &order);
        if best.as_ref().is_none_or(|b| bytes < b.0) {
            best = Some((bytes, offsets, order));
        }
        best.as_ref().is_some_and(|b| b.0 <= lower_bound)
    };
    let done = orders.into_iter().any(&mut consider);
    let Some((bytes, offsets, order)) = best else { return Vec::new() };
    if done || blocks.len() < 3 { offsets } else { perturb(blocks, &neighbours, lower_bound, (bytes, offsets, order)) }
}

/// Bounded local search: move one block of the best order elsewhere, keep what is no worse.
fn perturb(
    blocks: &[Block],
    neighbours: &[Vec<usize>],
    lower_bound: usize,
    (mut bytes, mut offsets, mut order): (usize, Vec<usize>, Vec<usize>),
) -> Vec<usize> {
    // About a million steps of `place`, whatever the size of the model.
    let edges: usize = neighbours.iter().map(Vec::len).sum::<usize>().max(1);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((random >> 33) as usize) % n
    };
    for _ in 0..(1_000_000 / edges).min(2_000) {
        let mut candidate = order.clone();
        let moved = candidate.remove(below(order.len()));
        candidate.insert(below(order.len()), moved);
        let (new_bytes, new_offsets) = place(blocks, neighbours, &candidate);
        if new_bytes <= bytes {
            (bytes, offsets, order) = (new_bytes, new_offsets, candidate);
        }
        if bytes <= lower_bound {
            break;
        }
    }
    offsets
}

/// Places blocks in this order, each at the lowest gap among its placed neighbours in time.
fn place(blocks: &[Block], neighbours: &[Vec<usize>], order: &[usize]) -> (usize, Vec<usize>) {
    let mut offsets = vec![usize::MAX; blocks.len()];
    let mut bytes = 0;
    for &i in order {
        let mut taken: Vec<(usize, usize)> = neighbours[i]
            .iter()
            .filter(|&&n| offsets[n] != usize::MAX)
            .map(|&n| (offsets[n], offsets[n] + blocks[n].size))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if start >= at + blocks[i].size {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        bytes = bytes.max(at + blocks[i].size);
    }
    (bytes, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sym::Expr;

    fn blocks(list: &[(usize, usize, usize)]) -> Vec<Block> {
        let block = |(i, &(size, first, last)): (usize, &(usize, usize, usize))| Block { buffer: i, size, first, last };
        list.iter().enumerate().map(block).collect()
    }

    #[test]
    fn chains_reach_the_lower_bound() {
        // x0 → x1 → x2 with a residual from x0 to the end.
        let chain = blocks(&[(64, 0, 3), (128, 0, 1), (96, 1, 2), (64, 2, 3)]);
        let (bound, step) = lower_bound(&chain, 3);
        assert_eq!((bound, step), (288, 1));
        let offsets = search(&chain, bound);
        assert_eq!(chain.iter().zip(&offsets).map(|(b, o)| o + b.size).max(), Some(288));
    }

    #[test]
    fn alternatives_share_memory_and_loops_keep_theirs() {
        use crate::lower::{Buffer, Condition, Loop, Place, Step};
        let (mut steps, n) = (Steps::default(), Expr::Int(16));
        let buffer = |name: &str| Buffer {
            name: name.into(),
            dtype: exported_runtime::DType::F32,
            len: n.clone(),
            storage: Storage::Arena,
            growth: 0,
        };
        steps.buffers = ["x", "a", "b", "y"].map(buffer).to_vec();
        let step = |work: Work| Step {
            name: String::new(),
            origin: Default::default(),
            nodes: vec![],
            results: vec![],
            work,
            macs: Expr::Int(0),
        };
        let touch = |buffers: &[u32]| {
            let place =
                |&b: &u32| Place::dense(BufferId(b), exported_runtime::DType::F32, std::slice::from_ref(&n), &[0]);
            let outputs = buffers.iter().map(place).collect();
            step(Work::Loop(Loop { shape: vec![n.clone()], formula: Default::default(), inputs: vec![], outputs }))
        };
        let branch = |otherwise| step(Work::Branch { condition: Condition::Size(Expr::Bool(true)), otherwise });
        // if x { a; y } else { b; y }
        steps.steps = vec![
            touch(&[0]),
            branch(5),
            touch(&[0, 1]),
            touch(&[1, 3]),
            step(Work::Jump { to: 7 }),
            touch(&[0, 2]),
            touch(&[2, 3]),
            touch(&[3]),
        ];
        assert_eq!(lives(&steps), [Some((0, 5)), Some((2, 3)), Some((5, 6)), Some((3, 7))]);
        // x; while { a reads x; b reads a }; y reads b: a lives within a round, x and b through all rounds.
        steps.steps = vec![
            touch(&[0, 2]),
            branch(6),
            touch(&[0, 1]),
            touch(&[1, 2]),
            step(Work::Check { condition: Expr::Bool(true), message: String::new() }),
            step(Work::Jump { to: 1 }),
            touch(&[2, 3]),
        ];
        assert_eq!(lives(&steps), [Some((0, 5)), Some((2, 3)), Some((0, 6)), Some((6, 6))]);
    }

    #[test]
    fn the_checker_finds_overlap() {
        let life = Some((0, 1));
        let plan = |offsets: [usize; 2]| Plan {
            offsets: offsets.iter().copied().map(Some).collect(),
            sizes: vec![32, 16],
            lives: vec![life, Some((1, 2))],
            bytes: 64,
            lower_bound: 48,
            peak_step: 1,
        };
        assert!(check(&plan([0, 32])).is_ok());
        assert!(check(&plan([0, 16])).is_err());
        assert!(check(&plan([0, 56])).is_err());
        let mut apart = plan([0, 16]);
        apart.lives[1] = Some((2, 2));
        assert!(check(&apart).is_ok());
    }

    #[test]
    fn random_plans_are_sound_and_near_the_bound() {
        let mut random = 7u64;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((random >> 33) as usize) % n
        };
        for _ in 0..20 {
            let list: Vec<(usize, usize, usize)> = (0..40)
                .map(|_| {
                    let first = below(60);
                    (16 * (1 + below(50)), first, first + below(8))
                })
                .collect();
            let blocks = blocks(&list);
            let (bound, _) = lower_bound(&blocks, 70);
            let offsets = search(&blocks, bound);
            let bytes = blocks.iter().zip(&offsets).map(|(b, o)| b.size + o).max().unwrap_or(0);
            let plan = Plan {
                offsets: offsets.into_iter().map(Some).collect(),
                sizes: blocks.iter().map(|b| b.size).collect(),
                lives: blocks.iter().map(|b| Some((b.first, b.last))).collect(),
                bytes,
                lower_bound: bound,
                peak_step: 0,
            };
            assert_eq!(check(&plan), Ok(()));
            assert!(bytes * 10 <= bound * 11, "{bytes} for a bound of {bound}");
        }
    }
}
