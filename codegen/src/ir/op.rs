//! The primitive operations of the graph, one variant per family.
//!
//! `import` brings every ATen overload to these; there are two ways to compute ([`Op::Pointwise`] and the algorithmic
//! families) and a set of views that cost nothing. Shapes of results are not stored here but computed by
//! [`super::infer`], from the operands and these parameters.
//!
//! Conventions: dims are normalized (never negative); spatial parameters are `[depth, height, width]` with leading 1s
//! (0 for padding) for fewer spatial dims; logical layouts are PyTorch's (`NCHW`), whatever memory order `lower` picks.

// Fields of variants are explained where the variant is.
#![allow(missing_docs)]

use super::formula::Formula;
use super::{Custom, Graph};
use crate::sym::{Expr, Symbol};
use exported_runtime::DType;

/// Reinterpretations of a tensor; no arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// To the output shape, elements in logical row-major order.
    Reshape(Vec<Expr>),
    /// Output dim `i` is input dim `perm[i]`.
    Permute(Vec<usize>),
    /// `input[.., start : start + step*len : step, ..]` along `dim`, `step >= 1`.
    Slice { dim: usize, start: Expr, len: Expr, step: i64 },
    /// Size-1 dims (and new leading dims) repeated to this shape.
    Expand(Vec<Expr>),
    /// Reversed along these dims.
    Flip(Vec<usize>),
    /// Windows of `size` entries of `dim`, `step >= 1` apart: `dim` counts the windows, a new last dim their entries.
    Unfold { dim: usize, size: i64, step: i64 },
}

/// How values outside the input are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PadMode {
    /// A constant (f64 bits, converted to the dtype).
    Constant(u64),
    /// Mirror without the edge.
    Reflect,
    /// The edge.
    Replicate,
    /// Wrap around.
    Circular,
}

/// Parameters of a convolution, [d, h, w].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Number of spatial dims of the operand (1, 2 or 3).
    pub spatial: usize,
    /// Step of the window.
    pub stride: [usize; 3],
    /// Zeros before and after, per spatial dim.
    pub padding: [(usize, usize); 3],
    /// Distance of the taps.
    pub dilation: [usize; 3],
    /// Channel groups.
    pub groups: usize,
    /// Transposed convolution; then `padding` is torch's `padding` on both sides and `output_padding` applies.
    pub transposed: bool,
    /// Extra size on one side, transposed only.
    pub output_padding: [usize; 3],
}

/// How an integer sum becomes a quantized result: `clamp(round_half_even(sum * factor / 2^shift) + output_zero)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requantize {
    /// Of the result.
    pub dtype: DType,
    /// The operand that stands for 0, also outside of images.
    pub input_zero: i32,
    /// The result that stands for 0.
    pub output_zero: i32,
    /// 1 to 62.
    pub shift: u32,
    /// Least and greatest result.
    pub bounds: (i32, i32),
}

/// What a matrix product or convolution does to a sum while it is in registers:
/// `clamp(leaky(sum * scale + bias + residual))`. Operands follow the operation's own in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epilogue {
    /// Weights are integers; scale and zero point, one per output channel, are operands: `(w - zero_point) * scale`.
    pub dequantize: bool,
    /// All operands are integers; the factor (i32), one per output channel, is an operand, and the bias (i32) makes up for
    /// the zero point of the input. Excludes the other fields but `bias`.
    pub requantize: Option<Requantize>,
    /// Bias, one per output channel, is an operand.
    pub bias: bool,
    /// Slope of negative values, one per output channel, is an operand.
    pub slope: bool,
    /// A tensor of the result's type is an operand.
    pub residual: bool,
    /// Least and greatest result (f64 bits); NaN stays.
    pub clamp: Option<(u64, u64)>,
}

impl Epilogue {
    /// With a bias, or with nothing.
    pub fn with_bias(bias: bool) -> Self {
        Epilogue { bias, ..Epilogue::default() }
    }

    /// Number of operands.
    pub fn operands(&self) -> usize {
        let vectors = 2 * usize::from(self.dequantize) + usize::from(self.requantize.is_some());
        vectors + usize::from(self.bias) + usize::from(self.slope) + usize::from(self.residual)
    }
}

/// Pooling reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Maximum; NaN wins. A second output holds i64 indices into the flattened spatial input.
    Max,
    /// Mean over the window.
    Avg { count_include_pad: bool, divisor_override: Option<i64> },
}

/// Parameters of a pooling, [d, h, w].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What is computed.
    pub kind: PoolKind,
    /// Number of spatial dims of the operand.
    pub spatial: usize,
    /// Window.
    pub kernel: [usize; 3],
    /// Step.
    pub stride: [usize; 3],
    /// Padding on both sides.
    pub padding: [usize; 3],
    /// Distance of the taps (max only).
    pub dilation: [usize; 3],
    /// Round the output size up, as PyTorch does.
    pub ceil_mode: bool,
    /// Of a mean of integers, with the factor.
    pub requantize: Option<(Requantize, i32)>,
}

/// Reductions over a set of dims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// Sum.
    Sum,
    /// Product.
    Prod,
    /// Mean.
    Mean,
    /// Maximum (NaN wins).
    Max,
    /// Minimum (NaN wins).
    Min,
    /// Any nonzero; output bool.
    Any,
    /// All nonzero; output bool.
    All,
    /// Index of the first maximum over one dim (or the whole), output i64.
    ArgMax,
    /// Index of the first minimum.
    ArgMin,
    /// Variance; the correction is subtracted from the count (f64 bits).
    Var { correction: u64 },
    /// Like `Var`, then the root.
    Std { correction: u64 },
    /// p-norm (f64 bits of p; 0, inf and -inf as in `torch.linalg.vector_norm`).
    Norm { p: u64 },
    /// `log(sum(exp(x)))`, shifted by the maximum.
    LogSumExp,
}

/// How a row is sorted, which decides the order of equal elements: what the runtime's kernel offers.
pub use exported_runtime::kernels::sort::Method as SortMethod;

/// Cumulative operations along one dim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CumKind {
    Sum,
    Prod,
    /// Outputs values and i64 indices.
    Max,
    /// Outputs values and i64 indices.
    Min,
    LogSumExp,
}

/// Interpolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResampleMode {
    /// The element at `floor(dst * scale)`, or at `floor((dst + 0.5) * scale)` if `exact`.
    Nearest { exact: bool },
    /// Linear over all spatial dims (linear, bilinear, trilinear).
    Linear { align_corners: bool },
    /// Cubic convolution with a = -0.75.
    Cubic { align_corners: bool },
}

/// Recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RnnKind {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

/// How scatter combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ScatterKind {
    Set,
    Add,
    Mul,
    Max,
    Min,
}

/// One operation. The comment names operands in order → results in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// → value. A tensor of the constant pool.
    Constant(super::ConstId),
    /// tensors (broadcast against each other) → one tensor per result. All results have the broadcast shape given.
    Pointwise { formula: Formula, shape: Vec<Expr> },
    /// x → view of x.
    View(View),
    /// parts → concatenation along `dim`.
    Concat { dim: usize },
    /// x → padded; (before, after) per dim, negative crops.
    Pad { pads: Vec<(i64, i64)>, mode: PadMode },
    /// x, src → x with the slice replaced.
    SliceScatter { dim: usize, start: Expr, len: Expr, step: i64 },
    /// `x[.., k]`, `weight[n, k]`, (epilogue) → `y[.., n]`. `aten.linear`.
    Linear(Epilogue),
    /// `a[batch.., m, k]`, `b[batch.., k, n]`, (epilogue) → `[batch.., m, n]`; batch dims equal (views expand them before).
    MatMul(Epilogue),
    /// `x[N, C, spatial..]`, weight, (epilogue) → y. Weight as PyTorch stores it.
    Conv(Conv, Epilogue),
    /// x → y, and i64 indices for max.
    Pool(Pool),
    /// x → y, and i64 indices for max; `out` = output spatial sizes.
    AdaptivePool { max: bool, spatial: usize, out: [usize; 3], requantize: Option<(Requantize, i32)> },
    /// x → reduced.
    Reduce { kind: ReduceKind, dims: Vec<usize>, keepdim: bool },
    /// x → softmax (or its log) along dim.
    Softmax { dim: usize, log: bool },
    /// x, (weight), (bias) → y; normalized over the last `dims` dims. `weight`/`bias` tell which are present.
    LayerNorm { dims: usize, eps: u64, weight: bool, bias: bool },
    /// `x[N, C, ..]`, (`weight[C]`), (`bias[C]`) → y.
    GroupNorm { groups: usize, eps: u64, weight: bool, bias: bool },
    /// `x[N, C, ..]`, `weight[C]`, `bias[C]`, `mean[C]`, `var[C]` → y; statistics are constants or state, never updated here.
    BatchNorm { eps: u64 },
    /// `table[n, d..]`, ids → `table[ids]`; out-of-range ids are a run-time error. Also `index_select` on dim 0.
    Embedding,
    /// x, `ids[k]` → x with dim replaced by k entries.
    IndexSelect { dim: usize },
    /// bool x[d..] → coordinates i64[numel(x), rank] of the true elements, row-major, rows beyond their number undefined; that
    /// number, i64[].
    Nonzero,
    /// x, index → `torch.gather`.
    Gather { dim: usize },
    /// x, index, src → scattered copy of x.
    Scatter { dim: usize, kind: ScatterKind },
    /// x, (i64 indices for the dims listed) → advanced indexing; indices broadcast, result dims placed as PyTorch does.
    Index { dims: Vec<usize> },
    /// x, values, (indices) → copy of x with values written; values have the shape of what [`Op::Index`] would give.
    IndexPut { dims: Vec<usize>, accumulate: bool },
    /// `weight[n, d]`, `ids[k]`, `offsets[b]` (, `factors[k]`) → `[b, d]`; mode 0 sum, 1 mean, 2 max.
    EmbeddingBag { mode: u8, padding_idx: Option<i64>, include_last_offset: bool },
    /// x → values, i64 indices.
    TopK { k: Expr, dim: usize, largest: bool, sorted: bool },
    /// x → values, i64 indices.
    Sort { dim: usize, descending: bool, method: SortMethod },
    /// x → y (, indices).
    Cumulative { kind: CumKind, dim: usize },
    /// `x[N, C, spatial..]` → resized; `scales` (f64 bits) when the scale, not the size, was given.
    Resample { mode: ResampleMode, spatial: usize, out: Vec<Expr>, scales: Vec<Option<u64>> },
    /// x, h0 (, c0), then per layer and direction w_ih, w_hh (, b_ih, b_hh) → output, h_n (, c_n). Shapes as `aten.lstm.input`.
    Rnn { kind: RnnKind, layers: usize, bidirectional: bool, batch_first: bool, bias: bool },
    /// float → integer: `clamp(round_half_even(x * inv_scale) + zero_point, min, max)`. Parameters are f64 bits / i64.
    /// With `axis`, x, scales, zero_points are operands (per channel).
    Quantize { scale: u64, zero_point: i64, min: i64, max: i64, dtype: DType, axis: Option<usize> },
    /// integer → float: `(q - zero_point) * scale`; with `axis`, q, scales, zero_points.
    Dequantize { scale: u64, zero_point: i64, axis: Option<usize> },
    /// x of 8 bits, `table[256]` → the entry at each element's bits: any function of one byte.
    Lookup,
    /// x of 8 bits, `i32 table[256]` of `exp(-scale * d)` for distances d from the maximum → softmax along dim, 1 standing for
    /// `factor / 2^shift` above the zero point.
    QuantizedSoftmax { dim: usize, requantize: Requantize, factor: i32 },
    /// `a[batch.., m, k]`, `b[batch.., k, n]`, both of 8 bits → `[batch.., m, n]`, rescaled; `weight_zero` stands for 0 in b.
    QuantizedMatMul { requantize: Requantize, weight_zero: i32, factor: i32 },
    /// `x[.., k]` f32, `weight[n, k]` i8, scales and zero points `[n, k / group]` f32 (, `bias[n]`) → `y[.., n]`.
    GroupedLinear { bias: bool },
    /// (bool of one element, unless the condition is `on_size`), operands → results of the first branch if it holds, else of
    /// the second. Both take all operands and give tensors of the same types.
    Cond { on_size: Option<Expr>, branches: Box<[Graph; 2]> },
    /// carried tensors, operands → carried tensors after the last round. Before each round `condition` gives one bool;
    /// `body` gives new values of the carried tensors. Both take everything.
    While { carried: usize, condition: Box<Graph>, body: Box<Graph> },
    /// carried tensors, sequences, operands → carried tensors after the last entry, results stacked along a new dim 0.
    /// `body` takes carried tensors, one entry of dim 0 (of `length`) of each sequence, and the operands.
    Scan { carried: usize, sequences: usize, length: Expr, body: Box<Graph> },
    /// integer tensor of one element → nothing: gives a symbol its value for the nodes that follow.
    Item { symbol: Symbol },
    /// tensors → results of the types it states. A custom operator, which the user implements.
    Custom(Box<Custom>),
    /// tensors → nothing: fails at run time unless the condition holds. For conditions the entry cannot check.
    Assert { condition: Expr, message: String },
}

impl Op {
    /// Graphs that run as parts of the operation.
    pub fn graphs(&self) -> Vec<&Graph> {
        match self {
            Op::Cond { branches, .. } => branches.iter().collect(),
            Op::While { condition, body, .. } => vec![condition, body],
            Op::Scan { body, .. } => vec![body],
            _ => Vec::new(),
        }
    }

    /// The mutable form of [`Op::graphs`].
    pub fn graphs_mut(&mut self) -> Vec<&mut Graph> {
        match self {
            Op::Cond { branches, .. } => branches.iter_mut().collect(),
            Op::While { condition, body, .. } => vec![condition, body],
            Op::Scan { body, .. } => vec![body],
            _ => Vec::new(),
        }
    }

    /// Whether it does something beside its results: such a node stays even when nobody needs those.
    pub fn stays(&self) -> bool {
        let effects = match self {
            Op::Assert { .. } | Op::Item { .. } => true,
            // It may count its calls, or draw numbers, or blink.
            Op::Custom(call) => !call.pure,
            _ => false,
        };
        effects || self.graphs().iter().any(|g| g.nodes.iter().any(|n| n.op.stays()))
    }
}
