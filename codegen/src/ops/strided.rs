//! `as_strided` and its kin: a tensor seen through strides of the caller's choice.
//!
//! The operand's own strides are taken to be those of a contiguous tensor; `import` sees to that. Strides that visit each
//! element at most once, dim by dim, are views; others are read by a constant table of places.

use super::view::{numel, x};
use super::{Outs, Row, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Op, ValueId};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.as_strided.default", as_strided).noted("of tensors whose memory is contiguous and whose size is known"),
    row("aten.as_strided_copy.default", as_strided),
    row("aten.as_strided_scatter.default", as_strided_scatter),
];

/// Places beyond this would be a table larger than any tensor worth it.
const MOST: i64 = 1 << 20;

/// Sizes, strides and the first element, all within an operand of this many elements.
struct Strided {
    sizes: Vec<i64>,
    strides: Vec<i64>,
    start: i64,
    total: i64,
}

fn strided(call: &Call<'_>, x: ValueId) -> Result<Strided> {
    let (sizes, strides) = (call.ints("size")?, call.ints("stride")?);
    let start = call.optional_int("storage_offset")?.unwrap_or(0);
    let Some(total) = numel(&call.shape(x)).as_int() else {
        return Err(call.unsupported("`as_strided` of a tensor whose size depends on the input"));
    };
    let positive = sizes.iter().chain(&strides).chain([&start]).all(|v| *v >= 0);
    let reach = sizes.iter().zip(&strides).try_fold(start, |sum, (size, stride)| {
        (size - 1).max(0).checked_mul(*stride).and_then(|reach| reach.checked_add(sum))
    });
    let count = sizes.iter().try_fold(1i64, |product, size| product.checked_mul(*size));
    let inside = count == Some(0) || reach.is_some_and(|last| last < total);
    if !positive || sizes.len() != strides.len() || !inside {
        return Err(call.damaged(format!("sizes {sizes:?} and strides {strides:?} from {start} on {}", call.ty(x))));
    }
    if count.is_none_or(|count| count > MOST) {
        return Err(call.unsupported(format!("`as_strided` to {sizes:?}")));
    }
    Ok(Strided { sizes, strides, start, total })
}

impl Strided {
    fn shape(&self) -> Vec<Expr> {
        self.sizes.iter().map(|&s| Expr::Int(s)).collect()
    }

    /// Peels dims off from the greatest stride down; `None` unless each fits into what one step of the one before spans.
    fn view(&self, call: &mut Call<'_>, x: ValueId) -> Result<Option<ValueId>> {
        let Strided { sizes, strides, start, total } = self;
        let mut order: Vec<usize> = (0..sizes.len()).filter(|&d| sizes[d] != 1 && strides[d] != 0).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(strides[d]));
        let mut left = total - start;
        for (i, &d) in order.iter().enumerate() {
            let last = i + 1 == order.len();
            let spans = if last { (sizes[d] - 1) * strides[d] < left } else { sizes[d] * strides[d] <= left };
            if !spans || sizes[d] == 0 {
                return Ok(None);
            }
            left = strides[d];
        }
        let mut at = call.reshape(x, &[Expr::Int(*total)])?;
        at = call.slice(at, 0, Expr::Int(*start), Expr::Int(total - start), 1)?;
        for (i, &d) in order.iter().enumerate() {
            if i + 1 == order.len() {
                at = call.slice(at, i, Expr::Int(0), Expr::Int(sizes[d]), strides[d])?;
                break;
            }
            let mut shape = call.shape(at);
            at = call.slice(at, i, Expr::Int(0), Expr::Int(sizes[d] * strides[d]), 1)?;
            shape[i] = Expr::Int(sizes[d]);
            shape.push(Expr::Int(strides[d]));
            at = call.reshape(at, &shape)?;
        }
        if order.is_empty() {
            at = call.slice(at, 0, Expr::Int(0), Expr::Int(1), 1)?;
            at = call.reshape(at, &[])?;
        }
        // Back into the order asked for, then the dims of size 1 and stride 0.
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let perm: Vec<usize> = sorted.iter().filter_map(|d| order.iter().position(|o| o == d)).collect();
        at = call.permute(at, &perm)?;
        let single: Vec<Expr> =
            (0..sizes.len()).map(|d| Expr::Int(if order.contains(&d) { sizes[d] } else { 1 })).collect();
        at = call.reshape(at, &single)?;
        call.expand(at, &self.shape()).map(Some)
    }

    /// The place of every element, in row-major order.
    fn places(&self, call: &mut Call<'_>) -> Result<ValueId> {
        let mut places = vec![self.start];
        for (&size, &stride) in self.sizes.iter().zip(&self.strides) {
            places = places.iter().flat_map(|at| (0..size).map(move |i| at + i * stride)).collect();
        }
        let data = places.iter().flat_map(|at| at.to_le_bytes()).collect();
        call.constant(DType::I64, &[places.len()], data)
    }
}

fn as_strided(call: &mut Call<'_>) -> Result<Outs> {
    let x = x(call)?;
    let strided = strided(call, x)?;
    if let Some(view) = strided.view(call, x)? {
        return one(view);
    }
    let flat = call.reshape(x, &[Expr::Int(strided.total)])?;
    let places = strided.places(call)?;
    let y = call.push(Op::IndexSelect { dim: 0 }, &[flat, places])?;
    one(call.reshape(y, &strided.shape())?)
}

fn as_strided_scatter(call: &mut Call<'_>) -> Result<Outs> {
    let (x, source) = (x(call)?, call.tensor("src")?);
    let strided = strided(call, x)?;
    let flat = call.reshape(x, &[Expr::Int(strided.total)])?;
    let places = strided.places(call)?;
    let values = call.cast(source, call.dtype_of(x))?;
    let values = call.expand(values, &strided.shape())?;
    let values = call.reshape(values, &[numel(&strided.shape())])?;
    let y = call.push(Op::IndexPut { dims: vec![0], accumulate: false }, &[flat, values, places])?;
    let shape = call.shape(x);
    one(call.reshape(y, &shape)?)
}
