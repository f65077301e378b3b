//! Convolution whose weight is known at run time only: windows of the image times the weight as a matrix.

use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, Conv, Formula, Op, PadMode, ValueId, View};
use crate::ops::matmul::matmul;
use crate::ops::view::{numel, one_dim};
use crate::ops::{map, wide};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

/// `x` is `[batch, channels, sizes..]`, `weight` as PyTorch has it; gives `[batch, channels, sizes..]`.
pub(super) fn convolution(
    call: &mut Call<'_>,
    mut x: ValueId,
    mut weight: ValueId,
    mut bias: Option<ValueId>,
    conv: &Conv,
) -> Result<ValueId> {
    let kernel = call.shape(weight)[2..].iter().map(Expr::as_int).collect::<Option<Vec<i64>>>();
    let kernel = kernel.ok_or_else(|| call.unsupported("a computed weight whose size depends on the input"))?;
    let channels = call.shape(x).get(1).and_then(Expr::as_int);
    let (Some(channels), Some(first), Some(second)) =
        (channels, call.shape(weight)[0].as_int(), call.shape(weight)[1].as_int())
    else {
        return Err(call.unsupported("a computed weight whose size depends on the input"));
    };
    let groups = conv.groups as i64;
    let fits = if conv.transposed { first == channels } else { second * groups == channels };
    if call.rank(x) != conv.spatial + 2 || !fits || first % groups != 0 {
        return Err(call.damaged(format!("convolution of {} with a weight of {}", call.ty(x), call.ty(weight))));
    }
    let dtype = call.dtype_of(x);
    // Torch adds the bias before it rounds to 16 bits.
    if let Some(bias) = &mut bias {
        for operand in [&mut x, &mut weight, bias] {
            *operand = call.cast(*operand, wide(dtype))?;
        }
    }
    let (x, weight, stride) = if conv.transposed {
        (spread(call, x, &kernel, conv)?, turned(call, weight, groups)?, [1; 3])
    } else {
        (padded(call, x, conv.padding.map(|(a, b)| (a as i64, b as i64)), conv.spatial)?, weight, conv.stride)
    };
    let y = product(call, x, weight, &kernel, stride, conv)?;
    let Some(bias) = bias else { return Ok(y) };
    let bias = call.reshape(bias, &one_dim(conv.spatial + 2, 1, call.shape(y)[1].clone()))?;
    let y = map(call, &[y, bias], |f, p| f.binary(Binary::Add, p[0], p[1]))?;
    call.cast(y, dtype)
}

fn padded(call: &mut Call<'_>, x: ValueId, pads: [(i64, i64); 3], spatial: usize) -> Result<ValueId> {
    let mut all = vec![(0, 0); 2];
    all.extend_from_slice(&pads[3 - spatial..]);
    if all.iter().all(|p| *p == (0, 0)) {
        return Ok(x);
    }
    call.push(Op::Pad { pads: all, mode: PadMode::Constant(0f64.to_bits()) }, &[x])
}

/// The operand of the plain convolution that a transposed one is: zeros between the elements and around them.
fn spread(call: &mut Call<'_>, mut x: ValueId, kernel: &[i64], conv: &Conv) -> Result<ValueId> {
    let mut pads = [(0, 0); 3];
    for (i, &taps) in kernel.iter().enumerate() {
        let d = 3 - conv.spatial + i;
        let (dim, step) = (i + 2, conv.stride[d] as i64);
        let reach = conv.dilation[d] as i64 * (taps - 1);
        pads[d] = (reach - conv.padding[d].0 as i64, reach - conv.padding[d].1 as i64 + conv.output_padding[d] as i64);
        if step > 1 {
            let (mut shape, dtype) = (call.shape(x), call.dtype_of(x));
            let len = shape[dim].clone();
            shape[dim] = (len.clone() - Expr::Int(1)) * Expr::Int(step) + Expr::Int(1);
            let mut formula = Formula::new(&[]);
            let zero = formula.float(dtype, 0.0);
            formula.results.push(zero);
            let zeros = call.push(Op::Pointwise { formula, shape }, &[])?;
            x = call.push(Op::SliceScatter { dim, start: Expr::Int(0), len, step }, &[zeros, x])?;
        }
    }
    padded(call, x, pads, conv.spatial)
}

/// `[inputs, outputs / groups, taps..]` as `[outputs, inputs / groups, taps..]`, the taps in reverse.
fn turned(call: &mut Call<'_>, weight: ValueId, groups: i64) -> Result<ValueId> {
    let shape = call.shape(weight);
    let weight = call.push(Op::View(View::Flip((2..shape.len()).collect())), &[weight])?;
    let (groups, inputs) = (Expr::Int(groups), Expr::floordiv(shape[0].clone(), groups));
    let grouped = [&[groups.clone(), inputs.clone()], &shape[1..]].concat();
    let weight = call.reshape(weight, &grouped)?;
    let mut perm: Vec<usize> = (0..grouped.len()).collect();
    perm.swap(1, 2);
    let weight = call.permute(weight, &perm)?;
    call.reshape(weight, &[&[groups * shape[1].clone(), inputs], &shape[2..]].concat())
}

/// `[batch, groups, positions, channels and taps]` times `[groups, channels and taps, outputs]`.
fn product(
    call: &mut Call<'_>,
    x: ValueId,
    weight: ValueId,
    kernel: &[i64],
    stride: [usize; 3],
    conv: &Conv,
) -> Result<ValueId> {
    let (spatial, groups) = (conv.spatial, Expr::Int(conv.groups as i64));
    let mut windows = x;
    for (i, &taps) in kernel.iter().enumerate() {
        let d = 3 - spatial + i;
        let step = conv.dilation[d] as i64;
        let view = View::Unfold { dim: i + 2, size: step * (taps - 1) + 1, step: stride[d] as i64 };
        windows = call.push(Op::View(view), &[windows])?;
        windows = call.slice(windows, spatial + 2 + i, Expr::Int(0), Expr::Int(taps), step)?;
    }
    let shape = call.shape(windows);
    let (batch, sizes, outputs) = (shape[0].clone(), shape[2..spatial + 2].to_vec(), call.shape(weight)[0].clone());
    let inputs = Expr::floordiv(shape[1].clone(), groups.clone());
    let outputs_each = Expr::floordiv(outputs.clone(), groups.clone());
    let windows = call.reshape(windows, &[&[batch.clone(), groups.clone(), inputs.clone()], &shape[2..]].concat())?;
    let places = 3..spatial + 3;
    let perm: Vec<usize> =
        [0, 1].into_iter().chain(places.clone()).chain([2]).chain(places.end..places.end + spatial).collect();
    let windows = call.permute(windows, &perm)?;
    let (positions, taps) = (numel(&sizes), inputs * Expr::Int(kernel.iter().product()));
    let windows = call.reshape(windows, &[batch.clone(), groups.clone(), positions, taps.clone()])?;
    let weight = call.reshape(weight, &[groups, outputs_each, taps])?;
    let weight = call.permute(weight, &[0, 2, 1])?;
    let y = matmul(call, windows, weight)?;
    let y = call.permute(y, &[0, 1, 3, 2])?;
    call.reshape(y, &[&[batch, outputs], sizes.as_slice()].concat())
}
