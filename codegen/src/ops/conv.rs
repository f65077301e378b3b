//! Convolutions.

mod windows;

use super::{Outs, Row, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Conv, Epilogue, Op, ValueId, eval};
use crate::sym::Expr;
use std::collections::HashSet;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.conv1d.default", |c| convolution(c, 1)),
    row("aten.conv2d.default", |c| convolution(c, 2)),
    row("aten.conv3d.default", |c| convolution(c, 3)),
    row("aten.conv1d.padding", |c| convolution(c, 1)),
    row("aten.conv2d.padding", |c| convolution(c, 2)),
    row("aten.conv3d.padding", |c| convolution(c, 3)),
    row("aten.conv_transpose1d.default", |c| transposed(c, 1)),
    row("aten.conv_transpose2d.input", |c| transposed(c, 2)),
    row("aten.conv_transpose3d.input", |c| transposed(c, 3)),
    row("aten.convolution.default", either),
];

fn convolution(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    one(conv(call, spatial, false, [0; 3])?)
}

fn transposed(call: &mut Call<'_>, spatial: usize) -> Result<Outs> {
    let extra = spatial_list(call, "output_padding", spatial, 0)?;
    one(conv(call, spatial, true, extra)?)
}

/// `aten.convolution`: either kind, of any rank.
fn either(call: &mut Call<'_>) -> Result<Outs> {
    let weight = call.tensor("weight")?;
    let spatial = call.rank(weight).saturating_sub(2);
    if !(1..=3).contains(&spatial) {
        return Err(call.unsupported(format!("convolution over {spatial} dims")));
    }
    if call.bool("transposed")? { transposed(call, spatial) } else { convolution(call, spatial) }
}

/// A list argument over the spatial dims as `[d, h, w]`, missing dims in front; one number stands for all dims.
pub(super) fn spatial_list(call: &Call<'_>, name: &str, spatial: usize, missing: usize) -> Result<[usize; 3]> {
    let list = call.ints(name)?;
    if list.len() != spatial && list.len() != 1 {
        return Err(call.damaged(format!("`{name}` is {list:?}, expected {spatial} numbers")));
    }
    let mut all = [missing; 3];
    for i in 0..spatial {
        let value = if list.len() == 1 { list[0] } else { list[i] };
        let value = u32::try_from(value).ok().filter(|v| *v <= i32::MAX as u32);
        let value = value.ok_or_else(|| call.damaged(format!("`{name}` is {list:?}, expected numbers of 31 bits")))?;
        all[3 - spatial + i] = value as usize;
    }
    Ok(all)
}

/// A list of steps, none of which may be 0.
pub(super) fn positive_list(call: &Call<'_>, name: &str, spatial: usize) -> Result<[usize; 3]> {
    let list = spatial_list(call, name, spatial, 1)?;
    if list.contains(&0) {
        return Err(call.damaged(format!("`{name}` contains a 0")));
    }
    Ok(list)
}

fn conv(call: &mut Call<'_>, spatial: usize, transposed: bool, output_padding: [usize; 3]) -> Result<ValueId> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    if call.rank(weight) != spatial + 2 {
        return Err(call.damaged(format!("a weight of {} for a convolution over {spatial} dims", call.ty(weight))));
    }
    let groups = usize::try_from(call.int("groups")?).ok().filter(|g| *g > 0);
    let groups = groups.ok_or_else(|| call.damaged("`groups` is not positive"))?;
    let stride = positive_list(call, "stride", spatial)?;
    let dilation = positive_list(call, "dilation", spatial)?;
    let padding = padding(call, weight, spatial, stride, dilation)?;
    let op = Op::Conv(
        Conv { spatial, stride, padding, dilation, groups, transposed, output_padding },
        Epilogue::with_bias(bias.is_some()),
    );
    let by_windows = is_computed(call, weight);
    batched(call, x, spatial, |call, x| {
        if let (true, Op::Conv(conv, _)) = (by_windows, &op) {
            return windows::convolution(call, x, weight, bias, conv);
        }
        let inputs: Vec<ValueId> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
        call.push(op, &inputs)
    })
}

/// Whether a value is not known at build time: such a weight cannot be packed then.
pub(super) fn is_computed(call: &Call<'_>, value: ValueId) -> bool {
    let mut needed = HashSet::from([value]);
    for node in call.graph().nodes.iter().rev() {
        let mut hits = false;
        node.outputs.iter().for_each(|v| hits |= needed.remove(v));
        // Integers are packed as they are, or folded when they have become floats.
        let integers = matches!(node.op, Op::Dequantize { .. });
        if hits && !integers && !eval::evaluates(node, call.graph()) {
            return true;
        }
        if hits {
            needed.extend(&node.inputs);
        }
        if needed.is_empty() {
            return false;
        }
    }
    true
}

/// Numbers, or torch's words for them: `same` puts the odd zero behind.
fn padding(
    call: &Call<'_>,
    weight: ValueId,
    spatial: usize,
    stride: [usize; 3],
    dilation: [usize; 3],
) -> Result<[(usize, usize); 3]> {
    let Ok(word) = call.str("padding") else {
        return Ok(spatial_list(call, "padding", spatial, 0)?.map(|p| (p, p)));
    };
    let mut padding = [(0, 0); 3];
    match word {
        "valid" => return Ok(padding),
        "same" if stride == [1; 3] => {}
        _ => return Err(call.damaged(format!("padding `{word}` with stride {stride:?}"))),
    }
    for (i, size) in call.shape(weight)[2..].iter().enumerate() {
        let d = 3 - spatial + i;
        let kernel = size.as_int().and_then(|k| usize::try_from(k).ok()).unwrap_or(1);
        let total = dilation[d] * kernel.saturating_sub(1);
        padding[d] = (total / 2, total - total / 2);
    }
    Ok(padding)
}

/// Runs `f` with a batch dim: an input without one gets it for the time of the operation.
pub(super) fn batched(
    call: &mut Call<'_>,
    x: ValueId,
    spatial: usize,
    f: impl FnOnce(&mut Call<'_>, ValueId) -> Result<ValueId>,
) -> Result<ValueId> {
    if call.rank(x) != spatial + 1 {
        return f(call, x);
    }
    let with_batch = [vec![Expr::Int(1)], call.shape(x)].concat();
    let x = call.reshape(x, &with_batch)?;
    let y = f(call, x)?;
    let shape = call.shape(y);
    call.reshape(y, &shape[1..])
}
