//! Pooling.

use super::super::{Pool, PoolKind, Requantize, TensorType};
use crate::sym::Expr;
use exported_runtime::DType;

pub(super) fn pool(pool: &Pool, x: &TensorType) -> Result<Vec<TensorType>, String> {
    let rank = pool.spatial + 2;
    if !(1..=3).contains(&pool.spatial) || x.shape.len() != rank {
        return Err(format!("pooling of {x} over {} dims", pool.spatial));
    }
    let mut shape = x.shape[..2].to_vec();
    for i in 0..pool.spatial {
        let size = out(pool, 3 - pool.spatial + i, &x.shape[i + 2]);
        if size.as_int().is_some_and(|s| s < 1) {
            return Err(format!("pooling of {x}: the window does not fit into the input"));
        }
        shape.push(size);
    }
    let mut types = with_indices(pool.kind == PoolKind::Max, TensorType { dtype: x.dtype, shape });
    requantized(&pool.requantize, &mut types);
    Ok(types)
}

/// A requantized mean has a type of its own.
pub(super) fn requantized(requantize: &Option<(Requantize, i32)>, types: &mut [TensorType]) {
    if let (Some((r, _)), Some(mean)) = (requantize, types.first_mut()) {
        mean.dtype = r.dtype;
    }
}

pub(super) fn adaptive(max: bool, spatial: usize, out: &[usize; 3], x: &TensorType) -> Result<Vec<TensorType>, String> {
    if !(1..=3).contains(&spatial) || x.shape.len() != spatial + 2 {
        return Err(format!("pooling of {x} over {spatial} dims"));
    }
    let mut shape = x.shape[..2].to_vec();
    shape.extend(out[3 - spatial..].iter().map(|&s| Expr::from(s)));
    Ok(with_indices(max, TensorType { dtype: x.dtype, shape }))
}

fn with_indices(max: bool, y: TensorType) -> Vec<TensorType> {
    let indices = max.then(|| TensorType { dtype: DType::I64, shape: y.shape.clone() });
    std::iter::once(y).chain(indices).collect()
}

/// Output size along one spatial dim: torch's `pooling_output_shape`. A window that would start beyond the input and the
/// padding before it is left out.
fn out(pool: &Pool, d: usize, size: &Expr) -> Expr {
    let (padding, stride) = (pool.padding[d] as i64, pool.stride[d] as i64);
    let reach = pool.dilation[d] as i64 * (pool.kernel[d] as i64 - 1);
    let span = size.clone() + Expr::Int(2 * padding - reach - 1);
    if !pool.ceil_mode {
        return Expr::floordiv(span, stride) + Expr::Int(1);
    }
    let starts = Expr::floordiv(span + Expr::Int(stride - 1), stride);
    let beyond = Expr::ge(starts.clone() * Expr::Int(stride), size.clone() + Expr::Int(padding));
    Expr::ite(beyond, starts.clone(), starts + Expr::Int(1))
}
