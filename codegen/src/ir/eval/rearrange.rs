//! Constants seen in another order, joined and padded.

use super::{broadcast_strides, constant, offsets, pointwise, row_major, sizes};
use crate::ir::{Constant, Formula, View};

/// Copies elements of `x` from `base` on along `strides` into a constant of this shape.
fn gather(x: &Constant, shape: Vec<usize>, base: usize, strides: &[usize]) -> Option<Constant> {
    let size = x.dtype.size();
    let count: usize = shape.iter().product();
    let mut data = Vec::with_capacity(count * size);
    let mut inside = true;
    offsets(&shape, strides, base, 0, count, |o| match x.data.get(o * size..(o + 1) * size) {
        Some(bytes) => data.extend_from_slice(bytes),
        None => inside = false,
    });
    inside.then(|| constant(x.dtype, shape, data))
}

pub(super) fn view(view: &View, x: &Constant) -> Option<Constant> {
    let own = row_major(&x.shape);
    match view {
        View::Reshape(shape) => {
            Some(Constant { name: String::new(), dtype: x.dtype, shape: sizes(shape)?, data: x.data.clone() })
        }
        View::Permute(perm) => {
            let shape = perm.iter().map(|&p| x.shape[p]).collect();
            gather(x, shape, 0, &perm.iter().map(|&p| own[p]).collect::<Vec<_>>())
        }
        View::Slice { dim, start, len, step } => {
            let (start, len) = (usize::try_from(start.as_int()?).ok()?, usize::try_from(len.as_int()?).ok()?);
            let (mut shape, mut strides) = (x.shape.clone(), own.clone());
            shape[*dim] = len;
            strides[*dim] *= usize::try_from(*step).ok()?;
            gather(x, shape, start * own[*dim], &strides)
        }
        View::Expand(shape) => {
            let shape = sizes(shape)?;
            let strides = broadcast_strides(&x.shape, &shape);
            gather(x, shape, 0, &strides)
        }
        View::Unfold { dim, size, step } => {
            let (mut shape, mut strides) = (x.shape.clone(), row_major(&x.shape));
            let (size, step) = (usize::try_from(*size).ok()?, usize::try_from(*step).ok()?);
            shape[*dim] = shape[*dim].checked_sub(size)?.checked_div(step)? + 1;
            shape.push(size);
            strides.push(strides[*dim]);
            strides[*dim] *= step;
            gather(x, shape, 0, &strides)
        }
        View::Flip(dims) => {
            // Reading backwards and reversing the result along the dim are the same; strides stay non-negative.
            dims.iter().try_fold(x.clone(), |x, &dim| {
                let parts: Option<Vec<Constant>> = (0..x.shape[dim]).rev().map(|i| entry(&x, dim, i)).collect();
                concat(dim, &parts?.iter().collect::<Vec<_>>()).or(Some(x))
            })
        }
    }
}

/// `x[.., i : i + 1, ..]` along `dim`.
fn entry(x: &Constant, dim: usize, i: usize) -> Option<Constant> {
    let own = row_major(&x.shape);
    let mut shape = x.shape.clone();
    shape[dim] = 1;
    gather(x, shape, i * own[dim], &own)
}

pub(super) fn concat(dim: usize, parts: &[&Constant]) -> Option<Constant> {
    let first = parts.first()?;
    let mut shape = first.shape.clone();
    shape[dim] = parts.iter().map(|p| p.shape[dim]).sum();
    let outer: usize = shape[..dim].iter().product();
    let mut data = Vec::with_capacity(parts.iter().map(|p| p.data.len()).sum());
    for i in 0..outer {
        for part in parts {
            let row = part.shape[dim..].iter().product::<usize>() * part.dtype.size();
            data.extend_from_slice(part.data.get(i * row..(i + 1) * row)?);
        }
    }
    Some(constant(first.dtype, shape, data))
}

/// Padding with a constant; negative amounts crop.
pub(super) fn pad(pads: &[(i64, i64)], bits: u64, x: &Constant) -> Option<Constant> {
    let mut result = x.clone();
    for (dim, &(before, after)) in pads.iter().enumerate() {
        let crop = |amount: i64| usize::try_from(-amount.min(0)).ok();
        let grow = |amount: i64| usize::try_from(amount.max(0)).ok();
        let strides = row_major(&result.shape);
        let mut shape = result.shape.clone();
        shape[dim] = shape[dim].checked_sub(crop(before)? + crop(after)?)?;
        let middle = gather(&result, shape.clone(), crop(before)? * strides[dim], &strides)?;
        let filled = |amount: usize| {
            let mut shape = shape.clone();
            shape[dim] = amount;
            let mut formula = Formula::new(&[]);
            let value = formula.float(x.dtype, f64::from_bits(bits));
            formula.results.push(value);
            pointwise(&formula, &shape, &[])?.pop()
        };
        let (before, after) = (filled(grow(before)?)?, filled(grow(after)?)?);
        result = concat(dim, &[&before, &middle, &after])?;
    }
    Some(result)
}
