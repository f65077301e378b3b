//! Evaluates nodes whose operands are constants, with the functions the device would use.
//!
//! A formula is computed column by column: every node gives a vector of values for a block of elements, so that the
//! dispatch on dtypes and operators is paid once per block (a macro expansion runs unoptimized). Sizes known at run time
//! only, and operators with an algorithm of their own, are not evaluated here.

mod rearrange;
mod reduce;

use super::formula::{Binary, ExprNode, Formula, Literal, Unary};
use super::{Constant, Graph, Node, Op, PadMode};
use exported_runtime::scalar::{self, CastTo, Scalar};
use exported_runtime::{Bf16, DType, F16, Portable};
use std::sync::Arc;

/// Elements computed at once.
const BLOCK: usize = 4096;
/// Elements beyond which nothing is tried: building takes time, too.
const MOST: usize = 1 << 22;

/// Results of a node on constant operands, named after nothing yet; `None` when it cannot be evaluated here.
pub fn node(node: &Node, inputs: &[&Constant]) -> Option<Vec<Constant>> {
    match &node.op {
        Op::Pointwise { formula, shape } => pointwise(formula, &sizes(shape)?, inputs),
        Op::View(v) => Some(vec![rearrange::view(v, inputs.first()?)?]),
        Op::Concat { dim } => Some(vec![rearrange::concat(*dim, inputs)?]),
        Op::Pad { pads, mode: PadMode::Constant(bits) } => Some(vec![rearrange::pad(pads, *bits, inputs.first()?)?]),
        Op::Reduce { kind, dims, keepdim } => Some(vec![reduce::reduce(*kind, dims, *keepdim, inputs.first()?)?]),
        _ => None,
    }
}

/// Whether [`node`] knows the results once it knows the operands.
pub fn evaluates(node: &Node, graph: &Graph) -> bool {
    let known = match &node.op {
        Op::Constant(_) | Op::View(_) | Op::Concat { .. } | Op::Pad { mode: PadMode::Constant(_), .. } => true,
        Op::Pointwise { formula, .. } => formula.sizes.iter().all(|size| size.as_int().is_some()),
        Op::Reduce { kind, .. } => reduce::evaluates(*kind, graph.ty(node.inputs[0]).dtype),
        _ => false,
    };
    let elements = |shape: Vec<usize>| shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
    let fits = |v| graph.ty(v).static_shape().and_then(elements).is_some_and(|n| n <= MOST);
    known && node.outputs.iter().all(|&v| fits(v))
}

fn sizes(shape: &[crate::sym::Expr]) -> Option<Vec<usize>> {
    shape.iter().map(|e| usize::try_from(e.as_int()?).ok()).collect()
}

/// A pointwise node over operands that broadcast to `shape`.
pub fn pointwise(formula: &Formula, shape: &[usize], inputs: &[&Constant]) -> Option<Vec<Constant>> {
    let count: usize = shape.iter().product();
    let strides: Vec<Vec<usize>> = inputs.iter().map(|c| broadcast_strides(&c.shape, shape)).collect();
    let mut data: Vec<Vec<u8>> = vec![Vec::new(); formula.results.len()];
    let mut start = 0;
    while start < count {
        let len = BLOCK.min(count - start);
        let columns = block(formula, shape, inputs, &strides, start, len)?;
        for (bytes, result) in data.iter_mut().zip(&formula.results) {
            columns[result.0 as usize].write(bytes);
        }
        start += len;
    }
    let constants = data.into_iter().zip(&formula.results);
    Some(constants.map(|(bytes, r)| constant(formula.dtype(*r), shape.to_vec(), bytes)).collect())
}

fn constant(dtype: DType, shape: Vec<usize>, data: Vec<u8>) -> Constant {
    Constant { name: String::new(), dtype, shape, data: Arc::from(data) }
}

/// Strides in elements of a row-major operand seen under the shape it broadcasts to.
fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<usize> {
    let lead = to.len().saturating_sub(from.len());
    let own = row_major(from);
    (0..to.len()).map(|i| if i < lead || from[i - lead] == 1 { 0 } else { own[i - lead] }).collect()
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Calls `f` with the offset of every element from `start` on, in row-major order of `shape`.
fn offsets(shape: &[usize], strides: &[usize], base: usize, start: usize, len: usize, mut f: impl FnMut(usize)) {
    if len == 0 {
        return;
    }
    let mut index = vec![0; shape.len()];
    let mut rest = start;
    for d in (0..shape.len()).rev() {
        index[d] = rest % shape[d];
        rest /= shape[d];
    }
    let mut offset: usize = base + index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>();
    for _ in 0..len {
        f(offset);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            offset += strides[d];
            if index[d] < shape[d] {
                break;
            }
            offset -= strides[d] * shape[d];
            index[d] = 0;
        }
    }
}

/// Values of every node of the formula for `len` elements.
fn block(
    formula: &Formula,
    shape: &[usize],
    inputs: &[&Constant],
    strides: &[Vec<usize>],
    start: usize,
    len: usize,
) -> Option<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(formula.nodes.len());
    for node in &formula.nodes {
        let at = |id: &super::ExprId| &columns[id.0 as usize];
        let column = match node {
            ExprNode::Param(i) => {
                let input = inputs.get(*i as usize)?;
                let mut indices = Vec::with_capacity(len);
                offsets(shape, &strides[*i as usize], 0, start, len, |o| indices.push(o));
                Column::read(input, &indices)?
            }
            ExprNode::Const(dtype, literal) => Column::splat(*dtype, *literal, len),
            ExprNode::Coord(axis) => {
                let mut only = vec![0; shape.len()];
                *only.get_mut(*axis as usize)? = 1;
                let mut values = Vec::with_capacity(len);
                offsets(shape, &only, 0, start, len, |o| values.push(o as i64));
                Column::I64(values)
            }
            ExprNode::Size(i) => Column::I64(vec![formula.sizes.get(*i as usize)?.as_int()?; len]),
            ExprNode::Unary(op, a) => at(a).unary(*op)?,
            ExprNode::Binary(op, a, b) => at(a).binary(*op, at(b))?,
            ExprNode::Select(c, a, b) => at(c).select(at(a), at(b))?,
            ExprNode::Cast(dtype, a) => at(a).cast(*dtype),
        };
        columns.push(column);
    }
    Some(columns)
}

/// Values of one node.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    Bool(Vec<bool>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<F16>),
    Bf16(Vec<Bf16>),
}

/// A type that columns hold.
trait Cell: Scalar + Sized {
    fn column(values: Vec<Self>) -> Column;
    fn values(column: &Column) -> Option<&[Self]>;
}

macro_rules! cells {
    ($($t:ty => $variant:ident),*) => {$(
        impl Cell for $t {
            fn column(values: Vec<Self>) -> Column {
                Column::$variant(values)
            }
            fn values(column: &Column) -> Option<&[Self]> {
                match column {
                    Column::$variant(v) => Some(v),
                    _ => None,
                }
            }
        }
    )*};
}
cells!(
    bool => Bool, u8 => U8, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u16 => U16, u32 => U32, u64 => U64,
    f32 => F32, f64 => F64, F16 => F16, Bf16 => Bf16
);

/// `$body` with `$v` bound to the values, whatever their type.
macro_rules! any {
    ($column:expr, $v:ident => $body:expr) => {
        match $column {
            Column::Bool($v) => $body,
            Column::U8($v) => $body,
            Column::I8($v) => $body,
            Column::I16($v) => $body,
            Column::I32($v) => $body,
            Column::I64($v) => $body,
            Column::U16($v) => $body,
            Column::U32($v) => $body,
            Column::U64($v) => $body,
            Column::F32($v) => $body,
            Column::F64($v) => $body,
            Column::F16($v) => $body,
            Column::Bf16($v) => $body,
        }
    };
}

/// The same by kind of type.
macro_rules! by_kind {
    ($column:expr, $v:ident => $int:expr, $float:expr, $bool:expr) => {
        match $column {
            Column::Bool($v) => $bool,
            Column::U8($v) => $int,
            Column::I8($v) => $int,
            Column::I16($v) => $int,
            Column::I32($v) => $int,
            Column::I64($v) => $int,
            Column::U16($v) => $int,
            Column::U32($v) => $int,
            Column::U64($v) => $int,
            Column::F32($v) => $float,
            Column::F64($v) => $float,
            Column::F16($v) => $float,
            Column::Bf16($v) => $float,
        }
    };
}

impl Column {
    /// The elements of a constant at these offsets.
    fn read(from: &Constant, at: &[usize]) -> Option<Column> {
        macro_rules! gather {
            ($n:literal, $make:expr) => {
                at.iter()
                    .map(|&i| Some($make(<[u8; $n]>::try_from(from.data.get(i * $n..i * $n + $n)?).ok()?)))
                    .collect::<Option<Vec<_>>>()?
            };
        }
        Some(match from.dtype {
            DType::Bool => Column::Bool(gather!(1, |b: [u8; 1]| b[0] != 0)),
            DType::U8 => Column::U8(gather!(1, u8::from_le_bytes)),
            DType::I8 => Column::I8(gather!(1, i8::from_le_bytes)),
            DType::I16 => Column::I16(gather!(2, i16::from_le_bytes)),
            DType::I32 => Column::I32(gather!(4, i32::from_le_bytes)),
            DType::I64 => Column::I64(gather!(8, i64::from_le_bytes)),
            DType::U16 => Column::U16(gather!(2, u16::from_le_bytes)),
            DType::U32 => Column::U32(gather!(4, u32::from_le_bytes)),
            DType::U64 => Column::U64(gather!(8, u64::from_le_bytes)),
            DType::F32 => Column::F32(gather!(4, f32::from_le_bytes)),
            DType::F64 => Column::F64(gather!(8, f64::from_le_bytes)),
            DType::F16 => Column::F16(gather!(2, |b| F16(u16::from_le_bytes(b)))),
            DType::Bf16 => Column::Bf16(gather!(2, |b| Bf16(u16::from_le_bytes(b)))),
            _ => return None,
        })
    }

    /// Appends the values as little-endian bytes.
    fn write(&self, bytes: &mut Vec<u8>) {
        macro_rules! all {
            ($v:expr, $x:ident => $bytes:expr) => {
                for $x in $v {
                    bytes.extend_from_slice(&$bytes);
                }
            };
        }
        match self {
            Column::Bool(v) => all!(v, x => [u8::from(*x)]),
            Column::U8(v) => bytes.extend_from_slice(v),
            Column::I8(v) => all!(v, x => x.to_le_bytes()),
            Column::I16(v) => all!(v, x => x.to_le_bytes()),
            Column::I32(v) => all!(v, x => x.to_le_bytes()),
            Column::I64(v) => all!(v, x => x.to_le_bytes()),
            Column::U16(v) => all!(v, x => x.to_le_bytes()),
            Column::U32(v) => all!(v, x => x.to_le_bytes()),
            Column::U64(v) => all!(v, x => x.to_le_bytes()),
            Column::F32(v) => all!(v, x => x.to_le_bytes()),
            Column::F64(v) => all!(v, x => x.to_le_bytes()),
            Column::F16(v) => all!(v, x => x.0.to_le_bytes()),
            Column::Bf16(v) => all!(v, x => x.0.to_le_bytes()),
        }
    }

    /// A literal, converted once to its dtype.
    fn splat(dtype: DType, literal: Literal, len: usize) -> Column {
        let one = match literal {
            Literal::Float(bits) => Column::F64(vec![f64::from_bits(bits)]),
            Literal::Int(v) => Column::I64(vec![v]),
            Literal::Bool(b) => Column::Bool(vec![b]),
        };
        any!(&one.cast(dtype), v => Cell::column(vec![v[0]; len]))
    }

    fn cast(&self, to: DType) -> Column {
        macro_rules! to {
            ($t:ty) => {
                any!(self, v => Cell::column(v.iter().map(|&x| convert::<_, $t>(x)).collect()))
            };
        }
        fn convert<T: CastTo<U>, U>(x: T) -> U {
            scalar::cast(x)
        }
        match to {
            DType::Bool => to!(bool),
            DType::U8 => to!(u8),
            DType::I8 => to!(i8),
            DType::I16 => to!(i16),
            DType::I32 => to!(i32),
            DType::I64 => to!(i64),
            DType::U16 => to!(u16),
            DType::U32 => to!(u32),
            DType::U64 => to!(u64),
            DType::F32 => to!(f32),
            DType::F16 => to!(F16),
            DType::Bf16 => to!(Bf16),
            _ => to!(f64),
        }
    }

    fn select(&self, a: &Column, b: &Column) -> Option<Column> {
        let Column::Bool(condition) = self else { return None };
        fn pick<T: Cell>(condition: &[bool], a: &[T], b: &Column) -> Option<Column> {
            let pairs = a.iter().zip(T::values(b)?).zip(condition);
            Some(T::column(pairs.map(|((&a, &b), &c)| scalar::select(Portable, c, a, b)).collect()))
        }
        any!(a, v => pick(condition, v, b))
    }

    fn unary(&self, op: Unary) -> Option<Column> {
        match op {
            Unary::Nearest => {
                return match self {
                    Column::F32(v) => Some(map(v, |x| scalar::nearest(Portable, x))),
                    _ => None,
                };
            }
            Unary::IsNan => return Some(any!(self, v => map(v, |x| scalar::is_nan(Portable, x)))),
            Unary::Not => return by_kind!(self, v => complement(v), no(v), complement(v)),
            _ => {}
        }
        by_kind!(self, v => number_unary(op, v), float_unary(op, v), no(v))
    }

    fn binary(&self, op: Binary, b: &Column) -> Option<Column> {
        let compared = any!(self, v => compare(op, v, b));
        if compared.is_some() {
            return compared;
        }
        by_kind!(self, v => integer_binary(op, v, b), float_binary(op, v, b), logic(op, v, b))
    }
}

fn map<T: Cell, U: Cell>(values: &[T], f: impl Fn(T) -> U) -> Column {
    U::column(values.iter().map(|&x| f(x)).collect())
}

fn zip<T: Cell, U: Cell>(a: &[T], b: &Column, f: impl Fn(T, T) -> U) -> Option<Column> {
    Some(U::column(a.iter().zip(T::values(b)?).map(|(&a, &b)| f(a, b)).collect()))
}

fn complement<T: Cell + scalar::Bits>(v: &[T]) -> Option<Column> {
    Some(map(v, |x| scalar::not(Portable, x)))
}

/// No such function on this type.
fn no<T>(_: &[T]) -> Option<Column> {
    None
}

/// Maps every listed node to the scalar function of its name.
macro_rules! table {
    (unary $op:expr, $v:expr, $($node:ident => $function:ident),* ; $rest:expr) => {
        match $op {
            $(Unary::$node => Some(map($v, |x| scalar::$function(Portable, x))),)*
            _ => $rest,
        }
    };
    (binary $op:expr, $a:expr, $b:expr, $($node:ident => $function:ident),* ; $rest:expr) => {
        match $op {
            $(Binary::$node => zip($a, $b, |a, b| scalar::$function(Portable, a, b)),)*
            _ => $rest,
        }
    };
}

fn number_unary<T: Cell + scalar::Number>(op: Unary, v: &[T]) -> Option<Column> {
    table!(unary op, v,
        Neg => neg, Abs => abs, Sign => sign, Square => square, Floor => floor, Ceil => ceil, Trunc => trunc,
        Round => round, Signbit => signbit; None)
}

fn float_unary<T: Cell + scalar::Float + scalar::Number>(op: Unary, v: &[T]) -> Option<Column> {
    table!(unary op, v,
        Sqrt => sqrt, Rsqrt => rsqrt, Recip => recip, Exp => exp, Exp2 => exp2, Expm1 => expm1, Log => log,
        Log2 => log2, Log10 => log10, Log1p => log1p, Sin => sin, Cos => cos, Tan => tan, Asin => asin, Acos => acos,
        Atan => atan, Sinh => sinh, Cosh => cosh, Tanh => tanh, Asinh => asinh, Acosh => acosh, Atanh => atanh,
        Erf => erf, Erfc => erfc, Erfinv => erfinv, Lgamma => lgamma, Digamma => digamma, Sigmoid => sigmoid,
        Erfcx => erfcx, LogNdtr => log_ndtr, Ndtri => ndtri, I0 => i0, I0e => i0e, I1 => i1, I1e => i1e, K0 => k0,
        K0e => k0e, K1 => k1, K1e => k1e, J0 => j0, J1 => j1, Y0 => y0, Y1 => y1, SphericalJ0 => spherical_j0,
        IsInf => is_inf; number_unary(op, v))
}

fn compare<T: Cell>(op: Binary, a: &[T], b: &Column) -> Option<Column> {
    table!(binary op, a, b,
        Eq => eq, Ne => ne, Lt => lt, Le => le, Gt => gt, Ge => ge, Max => maximum, Min => minimum, Fmax => fmax,
        Fmin => fmin; None)
}

fn number_binary<T: Cell + scalar::Number>(op: Binary, a: &[T], b: &Column) -> Option<Column> {
    table!(binary op, a, b,
        Add => add, Sub => sub, Mul => mul, FloorDiv => floor_div, TruncDiv => trunc_div, Remainder => remainder,
        Fmod => fmod, Pow => pow; None)
}

fn float_binary<T: Cell + scalar::Float + scalar::Number>(op: Binary, a: &[T], b: &Column) -> Option<Column> {
    table!(binary op, a, b,
        Div => div, Atan2 => atan2, Hypot => hypot, CopySign => copy_sign, NextAfter => next_after,
        Zeta => zeta, Igamma => igamma, Igammac => igammac;
        number_binary(op, a, b))
}

fn integer_binary<T: Cell + scalar::Number + scalar::Bits + scalar::Shifts>(
    op: Binary,
    a: &[T],
    b: &Column,
) -> Option<Column> {
    table!(binary op, a, b, Shl => shl, Shr => shr, Gcd => gcd; logic(op, a, b).or_else(|| number_binary(op, a, b)))
}

fn logic<T: Cell + scalar::Bits>(op: Binary, a: &[T], b: &Column) -> Option<Column> {
    table!(binary op, a, b, And => and, Or => or, Xor => xor; None)
}

#[cfg(test)]
mod tests {
    use super::rearrange::{concat, pad, view};
    use super::*;
    use crate::ir::View;
    use crate::sym::Expr;

    fn f32s(shape: &[usize], values: &[f32]) -> Constant {
        constant(DType::F32, shape.to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn to_f32s(c: &Constant) -> Vec<f32> {
        c.data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    #[test]
    fn broadcasts_operands_over_blocks() {
        let mut f = Formula::new(&[DType::F32, DType::F32]);
        let (a, b) = (f.param(0), f.param(1));
        let sum = f.binary(Binary::Add, a, b);
        let positive = f.binary(Binary::Gt, a, b);
        f.results = vec![sum, positive];
        let rows: Vec<f32> = (0..3).map(|i| i as f32 * 10.0).collect();
        let columns: Vec<f32> = (0..3000).map(|i| i as f32).collect();
        let results = pointwise(&f, &[3, 3000], &[&f32s(&[3, 1], &rows), &f32s(&[3000], &columns)]).expect("evaluates");
        let sums = to_f32s(&results[0]);
        assert_eq!((sums.len(), sums[3001], sums[8999]), (9000, 11.0, 3019.0));
        assert_eq!((results[1].dtype, results[1].data[3000], results[1].data[3010]), (DType::Bool, 1, 0));
    }

    #[test]
    fn coordinates_casts_and_halves() {
        let mut f = Formula::new(&[]);
        let (i, j) = (f.push(ExprNode::Coord(0)), f.push(ExprNode::Coord(1)));
        let lower = f.binary(Binary::Le, j, i);
        let (x, zero) = (f.cast(DType::F16, i), f.float(DType::F16, 0.0));
        let y = f.select(lower, x, zero);
        f.results = vec![y];
        let r = pointwise(&f, &[2, 3], &[]).expect("evaluates");
        let one = F16::from_f32(1.0).0.to_le_bytes();
        assert_eq!(&r[0].data[..], [[0, 0], [0, 0], [0, 0], one, one, [0, 0]].concat());
    }

    #[test]
    fn sizes_of_the_call_are_not_known() {
        let mut f = Formula::new(&[]);
        f.sizes.push(Expr::Symbol("s0".into()));
        let size = f.push(ExprNode::Size(0));
        f.results = vec![size];
        assert_eq!(pointwise(&f, &[1], &[]), None);
    }

    #[test]
    fn views_concat_and_pad() {
        let x = f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let v = |v: View| to_f32s(&view(&v, &x).expect("evaluates"));
        assert_eq!(v(View::Permute(vec![1, 0])), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(v(View::Flip(vec![1])), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(v(View::Unfold { dim: 1, size: 2, step: 1 }), [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0]);
        let slice = View::Slice { dim: 1, start: Expr::Int(0), len: Expr::Int(2), step: 2 };
        assert_eq!(v(slice), [1.0, 3.0, 4.0, 6.0]);
        assert_eq!(v(View::Expand(vec![Expr::Int(2), Expr::Int(2), Expr::Int(3)]))[6..9], [1.0, 2.0, 3.0]);
        let joined = concat(1, &[&x, &x]).expect("evaluates");
        assert_eq!((joined.shape.clone(), to_f32s(&joined)[3]), (vec![2, 6], 1.0));
        let padded = pad(&[(0, 1), (-1, 1)], 7f64.to_bits(), &x).expect("evaluates");
        assert_eq!(padded.shape, [3, 3]);
        assert_eq!(to_f32s(&padded), [2.0, 3.0, 7.0, 5.0, 6.0, 7.0, 7.0, 7.0, 7.0]);
    }

    #[test]
    fn outside_of_the_data_is_no_value() {
        let x = f32s(&[2], &[1.0, 2.0]);
        assert_eq!(view(&View::Slice { dim: 0, start: Expr::Int(1), len: Expr::Int(2), step: 1 }, &x), None);
    }
}
