//! Products of tensors over chosen dims: said with views and the matrix product.

use super::matmul::{bilinear_of, matmul};
use super::reduce::sum;
use super::view::{numel, unsqueeze};
use super::{Outs, Row, map, one, row};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, ExprNode, ValueId, infer};
use crate::sym::Expr;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.tensordot.default", tensordot),
    row("aten.kron.default", kron),
    row("aten.linalg_vecdot.default", vecdot),
    row("aten.linalg_multi_dot.default", chain),
    row("aten._trilinear.default", trilinear),
    row("aten.linalg_matrix_power.default", power).noted("no negative powers"),
    row("aten.matrix_power.default", power).noted("no negative powers"),
];

fn times(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<ValueId> {
    let dtype = super::pointwise::promote::common_dtype(call, &[a, b])?;
    let (a, b) = (call.cast(a, dtype)?, call.cast(b, dtype)?);
    let op = if dtype == exported_runtime::DType::Bool { Binary::And } else { Binary::Mul };
    map(call, &[a, b], |f, p| f.binary(op, p[0], p[1]))
}

/// The `n`-th power of matrices by squaring, in the order of torch's products.
fn power(call: &mut Call<'_>) -> Result<Outs> {
    let (x, mut n) = (call.tensor("self")?, call.int("n")?);
    let rank = call.rank(x);
    if rank < 2 || call.shape(x)[rank - 1] != call.shape(x)[rank - 2] {
        return Err(call.damaged(format!("a power of {}, which is no square matrix", call.ty(x))));
    }
    match n {
        ..0 => Err(call.unsupported("negative powers of matrices, which need an inverse")),
        0 => one(map(call, &[x], |f, _| {
            let (row, column) = (f.push(ExprNode::Coord(rank as u32 - 2)), f.push(ExprNode::Coord(rank as u32 - 1)));
            let diagonal = f.binary(Binary::Eq, row, column);
            let dtype = f.params[0];
            f.cast(dtype, diagonal)
        })?),
        1 => one(x),
        3 => {
            let square = matmul(call, x, x)?;
            one(matmul(call, square, x)?)
        }
        _ => {
            let (mut square, mut result) = (x, None);
            loop {
                if n % 2 == 1 {
                    result = Some(match result {
                        Some(result) => matmul(call, result, square)?,
                        None => square,
                    });
                }
                n /= 2;
                if n == 0 {
                    return one(result.unwrap_or(square));
                }
                square = matmul(call, square, square)?;
            }
        }
    }
}

/// The dims of one operand summed over last, those of the other first; dims of size 1 broadcast.
fn tensordot(call: &mut Call<'_>) -> Result<Outs> {
    let (mut a, mut b) = (call.tensor("self")?, call.tensor("other")?);
    let dims = |call: &Call<'_>, name: &str, x: ValueId| -> Result<Vec<usize>> {
        call.ints(name)?.into_iter().map(|d| call.normalize_dim(d, call.rank(x))).collect()
    };
    let (left, right) = (dims(call, "dims_self", a)?, dims(call, "dims_other", b)?);
    if left.len() != right.len() {
        return Err(call.damaged("as many dims of one operand as of the other are needed"));
    }
    for (&i, &j) in left.iter().zip(&right) {
        let (m, n) = (call.shape(a)[i].clone(), call.shape(b)[j].clone());
        // A single entry meets the sum of the others', which here stays of their dtype.
        let summed = |call: &mut Call<'_>, x: ValueId, dim: usize| {
            let total = sum(call, x, vec![dim], true)?;
            call.cast(total, call.dtype_of(x))
        };
        if m == Expr::Int(1) && n != Expr::Int(1) {
            b = summed(call, b, j)?;
        } else if n == Expr::Int(1) && m != Expr::Int(1) {
            a = summed(call, a, i)?;
        }
    }
    let rest = |x: &[Expr], dims: &[usize]| (0..x.len()).filter(|d| !dims.contains(d)).collect::<Vec<_>>();
    let (m, n) = (call.shape(a), call.shape(b));
    let (rows, columns) = (rest(&m, &left), rest(&n, &right));
    let pick = |shape: &[Expr], dims: &[usize]| dims.iter().map(|&d| shape[d].clone()).collect::<Vec<_>>();
    let shape = [pick(&m, &rows), pick(&n, &columns)];
    let inner = numel(&pick(&m, &left));
    let a = call.permute(a, &[rows, left].concat())?;
    let a = call.reshape(a, &[numel(&shape[0]), inner.clone()])?;
    let b = call.permute(b, &[right, columns].concat())?;
    let b = call.reshape(b, &[inner, numel(&shape[1])])?;
    let y = matmul(call, a, b)?;
    one(call.reshape(y, &shape.concat())?)
}

/// Every element of the first times the whole of the second: `[a1, 1, a2, 1, ..]` times `[1, b1, 1, b2, ..]`.
fn kron(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let rank = call.rank(a).max(call.rank(b));
    let widened = |call: &Call<'_>, x: ValueId| {
        let shape = call.shape(x);
        [vec![Expr::Int(1); rank - shape.len()], shape].concat()
    };
    let (m, n) = (widened(call, a), widened(call, b));
    let left: Vec<Expr> = m.iter().flat_map(|s| [s.clone(), Expr::Int(1)]).collect();
    let right: Vec<Expr> = n.iter().flat_map(|s| [Expr::Int(1), s.clone()]).collect();
    let (a, b) = (call.reshape(a, &left)?, call.reshape(b, &right)?);
    let y = times(call, a, b)?;
    let shape: Vec<Expr> = m.into_iter().zip(n).map(|(m, n)| m * n).collect();
    one(call.reshape(y, &shape)?)
}

fn vecdot(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b) = (call.tensor("x")?, call.tensor("y")?);
    let products = times(call, a, b)?;
    let dim = call.dim("dim", call.rank(products))?;
    one(sum(call, products, vec![dim], false)?)
}

/// In the cheapest order, which is torch's; from left to right where sizes depend on the input.
fn chain(call: &mut Call<'_>) -> Result<Outs> {
    let tensors = call.tensors("tensors")?;
    let [first, rest @ ..] = &tensors[..] else { return Err(call.damaged("a product of nothing")) };
    match chain_sizes(call, &tensors) {
        Some(sizes) => one(chain_between(call, &tensors, &splits(&sizes), 0, tensors.len() - 1)?),
        None => one(rest.iter().try_fold(*first, |product, &next| matmul(call, product, next))?),
    }
}

/// Rows of the first matrix, then the columns of each; a vector is a row in front, a column behind. None of a chain so long
/// that finding its order would take longer than compiling the rest.
fn chain_sizes(call: &Call<'_>, tensors: &[ValueId]) -> Option<Vec<f64>> {
    let last = tensors.len().checked_sub(1).filter(|last| *last < 64)?;
    let mut sizes = vec![1.0];
    for (i, &tensor) in tensors.iter().enumerate() {
        let size = |size: &Expr| size.as_int().map(|n| n as f64);
        match &call.shape(tensor)[..] {
            [rows, columns] => {
                sizes[i] = size(rows)?;
                sizes.push(size(columns)?);
            }
            [_] if i > 0 && i == last => sizes.push(1.0),
            [columns] => sizes.push(size(columns)?),
            _ => return None,
        }
    }
    Some(sizes)
}

/// The factor after which the product of all `from..=to` is split, at `[from][to]`, for the fewest multiplications: the dynamic
/// program of Cormen et al., "Introduction to Algorithms", section 15.2.
fn splits(sizes: &[f64]) -> Vec<Vec<usize>> {
    let n = sizes.len() - 1;
    let (mut costs, mut splits) = (vec![vec![0.0; n]; n], vec![vec![0; n]; n]);
    for (from, to) in (1..n).flat_map(|len| (0..n - len).map(move |from| (from, from + len))) {
        costs[from][to] = f64::INFINITY;
        for split in from..to {
            let cost = costs[from][split] + costs[split + 1][to] + sizes[from] * sizes[split + 1] * sizes[to + 1];
            // Of equally good orders torch takes the first, but of three factors the second.
            if cost < costs[from][to] || n == 3 && cost == costs[from][to] {
                (costs[from][to], splits[from][to]) = (cost, split);
            }
        }
    }
    splits
}

fn chain_between(
    call: &mut Call<'_>,
    tensors: &[ValueId],
    splits: &[Vec<usize>],
    from: usize,
    to: usize,
) -> Result<ValueId> {
    if from == to {
        return Ok(tensors[from]);
    }
    let split = splits[from][to];
    let left = chain_between(call, tensors, splits, from, split)?;
    let right = chain_between(call, tensors, splits, split + 1, to)?;
    matmul(call, left, right)
}

/// Three tensors, each given the dims it lacks, multiplied and summed over some. What `bilinear` decomposes into is done as
/// that: its full product would be as large as the weight for every row of the input.
fn trilinear(call: &mut Call<'_>) -> Result<Outs> {
    let factors = [call.tensor("i1")?, call.tensor("i2")?, call.tensor("i3")?];
    let expand = [call.ints("expand1")?, call.ints("expand2")?, call.ints("expand3")?];
    let sumdim = call.ints("sumdim")?;
    if expand == [vec![1, 3], vec![0], vec![1, 2]] && sumdim == [2, 3] {
        return one(bilinear_of(call, factors[0], factors[2], factors[1])?);
    }
    let mut wide = factors;
    for (x, dims) in wide.iter_mut().zip(&expand) {
        for &dim in dims {
            let dim = usize::try_from(dim).ok().filter(|d| *d <= call.rank(*x));
            let dim = dim.ok_or_else(|| call.damaged("a new dim beyond the last"))?;
            *x = unsqueeze(call, *x, dim)?;
        }
    }
    let shapes = wide.map(|x| call.shape(x));
    let rank = infer::broadcast(&shapes).map_err(|m| call.damaged(m))?.len();
    let dims: Vec<usize> = sumdim.into_iter().map(|d| call.normalize_dim(d, rank)).collect::<Result<_>>()?;
    let product = map(call, &wide, |f, p| {
        let pair = f.binary(Binary::Mul, p[0], p[1]);
        f.binary(Binary::Mul, pair, p[2])
    })?;
    one(if dims.is_empty() { product } else { sum(call, product, dims, false)? })
}
