//! Pooling: channels-last where the input can be.

use super::layer::{arithmetic, bound, format, size, sizes, some};
use super::{Access, Field, Kernel, Lowering, Place, Work, channels_last};
use crate::diag::Diagnostic;
use crate::ir::{Epilogue, Node, Op, Pool, PoolKind, Requantize, ValueId};
use crate::options::Optimize;
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// Lowers windows of fixed size.
pub(super) fn pool(cx: &mut Lowering<'_>, node: &Node, pool: &Pool) -> Result<()> {
    let mut fields = vec![];
    let path = match pool.kind {
        PoolKind::Max => {
            fields.push(("dilation", sizes(pool.dilation)));
            "pool::MaxPool"
        }
        PoolKind::Avg { count_include_pad, divisor_override } => {
            let divisor = match divisor_override {
                None => 0,
                Some(d) => usize::try_from(d)
                    .map_err(|_| Diagnostic::unsupported(format!("`divisor_override` is {d}")).at(&node.origin))?,
            };
            fields.extend([("count_include_pad", Field::Bool(count_include_pad)), ("divisor", size(divisor))]);
            "pool::AvgPool"
        }
    };
    fields.extend([("kernel", sizes(pool.kernel)), ("stride", sizes(pool.stride)), ("padding", sizes(pool.padding))]);
    let work = pool.kernel.iter().fold(1usize, |n, k| n.saturating_mul(*k)).min(1 << 31);
    if pool.kind != PoolKind::Max {
        fields.extend(mean(cx, node, pool.requantize)?);
    }
    kernel(cx, node, path, pool.spatial, pool.kind == PoolKind::Max, pool.requantize, fields, work)
}

/// Lowers a division into a given number of windows.
pub(super) fn adaptive(
    cx: &mut Lowering<'_>,
    node: &Node,
    max: bool,
    spatial: usize,
    requantize: Option<(Requantize, i32)>,
) -> Result<()> {
    let mut fields = vec![("max", Field::Bool(max))];
    fields.extend(mean(cx, node, requantize)?);
    kernel(cx, node, "pool::AdaptivePool", spatial, true, requantize, fields, 1)
}

/// The fields that only means have.
fn mean(cx: &Lowering<'_>, node: &Node, requantize: Option<(Requantize, i32)>) -> Result<[(&'static str, Field); 3]> {
    let (_, accumulator) = mean_arithmetic(cx, node, requantize)?;
    let infinite = (f64::NEG_INFINITY, f64::INFINITY);
    let (low, high) = requantize.map_or(infinite, |(r, _)| (f64::from(r.bounds.0), f64::from(r.bounds.1)));
    let (requantize, factor) = requantize.map_or((None, 0), |(r, factor)| (Some(r), factor));
    Ok([("format", format(requantize, factor)), ("low", bound(accumulator, low)), ("high", bound(accumulator, high))])
}

fn mean_arithmetic(
    cx: &Lowering<'_>,
    node: &Node,
    requantize: Option<(Requantize, i32)>,
) -> Result<(&'static str, DType)> {
    let (epilogue, dtype) =
        (Epilogue { requantize: requantize.map(|(r, _)| r), ..Epilogue::default() }, cx.dtype(node.inputs[0]));
    // PyTorch rounds sums over parts of volumes after every element; the mean of the whole is another kernel there.
    match (&node.op, dtype) {
        (&Op::AdaptivePool { max: false, spatial: 3, out, .. }, DType::F16) if out != [1; 3] => {
            Ok(("rt::kernels::arith::Half<rt::F16, true>", DType::F32))
        }
        (&Op::AdaptivePool { max: false, spatial: 3, out, .. }, DType::Bf16) if out != [1; 3] => {
            Ok(("rt::kernels::arith::Half<rt::Bf16, true>", DType::F32))
        }
        _ => arithmetic(node, dtype, &epilogue),
    }
}

/// The fields all kinds have; `indices` if the kernel has that field, `work` reads per output.
#[allow(clippy::too_many_arguments)]
fn kernel(
    cx: &mut Lowering<'_>,
    node: &Node,
    path: &'static str,
    spatial: usize,
    indices: bool,
    requantize: Option<(Requantize, i32)>,
    extra: Vec<(&'static str, Field)>,
    work: usize,
) -> Result<()> {
    let (arith, _) = mean_arithmetic(cx, node, requantize)?;
    let x = cx.read_channels_last(node.inputs[0]);
    let wanted = node.outputs.get(1).copied().filter(|&v| cx.is_used(v));
    let order = channels_last(spatial + 2);
    let y = match wanted {
        // Both results lie alike.
        Some(_) => cx.new_output(node.outputs[0], &order),
        None => cx.output_channels_last(node.outputs[0]),
    };
    let mut fields = vec![("x", Field::Read(x.region(Access::Whole)))];
    fields.push(("y", Field::Write { region: y.region(Access::Whole), update: false }));
    if indices {
        let region = wanted.map(|v| cx.new_output(v, &order).region(Access::Whole));
        let write = region.map(|region| Field::Write { region, update: false });
        fields.push(("indices", write.map_or(Field::Option(None), some)));
    }
    let lead = 3 - spatial;
    let spatial_of = |list: &[Expr], missing: i64| -> Vec<Expr> {
        (0..3).map(|d| if d < lead { Expr::Int(missing) } else { list[d - lead + 2].clone() }).collect()
    };
    let panel = match cx.options.optimize {
        Optimize::Speed => cx.panel(),
        Optimize::Size => "rt::N1",
    };
    let strides = |p: &Place| {
        let adjacent = if p.shape[1] == Expr::Int(1) { Expr::Int(1) } else { p.strides[1].clone() };
        [vec![p.strides[0].clone(), adjacent], spatial_of(&p.strides, 0)].concat()
    };
    fields.extend([
        ("batch", size(x.shape[0].clone())),
        ("channels", size(x.shape[1].clone())),
        ("size", sizes(spatial_of(&x.shape, 1))),
        ("out", sizes(spatial_of(&y.shape, 1))),
    ]);
    fields.extend(extra);
    fields.extend([
        ("x_strides", sizes(strides(&x))),
        ("y_strides", sizes(strides(&y))),
        ("panel", Field::Path(panel.into())),
    ]);
    let generics = vec![arith.to_string(), panel.to_string()];
    let cost = super::numel(&y.shape) * Expr::from(work);
    cx.step(node, Work::Kernel(Kernel { path, generics, fields, fallible: false }), cost);
    Ok(())
}

impl Lowering<'_> {
    /// Whether anything reads the value.
    fn is_used(&self, v: ValueId) -> bool {
        self.last_use[v.0 as usize] > 0
    }
}
