//! Attention, `einsum` and the cross product, said with matrix products, softmax and formulas.

use super::pointwise::promote::common_dtype;
use super::rearrange::diagonal;
use super::reduce::{masked_softmax, reduce, softmax_of, sum};
use super::view::{numel, swapped, take, unsqueeze};
use super::{Out, Outs, Row, map, one, row, wide};
use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{Binary, Epilogue, ExprNode, Op, ReduceKind, ValueId, infer};
use crate::sym::Expr;
use exported_runtime::DType;

type Result<T> = std::result::Result<T, Diagnostic>;

/// The rows.
pub const ROWS: &[Row] = &[
    row("aten.scaled_dot_product_attention.default", sdpa).noted("no dropout"),
    row("aten._scaled_dot_product_flash_attention_for_cpu.default", flash).noted("no dropout"),
    row("aten.einsum.default", einsum).noted("operands are joined from left to right"),
    row("aten.cross.default", cross),
    row("aten.linalg_cross.default", cross),
];

/// Also gives the logarithm of the sums, in f32 at least.
fn flash(call: &mut Call<'_>) -> Result<Outs> {
    let [y, scores] = attend(call)?;
    let dtype = if call.dtype_of(y) == DType::F64 { DType::F64 } else { DType::F32 };
    let scores = call.cast(scores, dtype)?;
    let last = call.rank(scores) - 1;
    let sums = reduce(call, scores, ReduceKind::LogSumExp, vec![last], false)?;
    Ok(vec![Out::Tensor(y), Out::Tensor(sums)])
}

fn sdpa(call: &mut Call<'_>) -> Result<Outs> {
    attend(call).and_then(|[y, _]| one(y))
}

/// `x` with dims of size 1 in front, up to this rank.
fn with_rank(call: &mut Call<'_>, x: ValueId, rank: usize) -> Result<ValueId> {
    let shape = call.shape(x);
    call.reshape(x, &[vec![Expr::Int(1); rank - shape.len()], shape].concat())
}

/// The result, and the scores before softmax.
fn attend(call: &mut Call<'_>) -> Result<[ValueId; 2]> {
    if call.float("dropout_p")? != 0.0 {
        return Err(call
            .violated("attention with dropout draws random numbers")
            .help("call `model.eval()` before `torch.export.export`"));
    }
    let tensors = [call.tensor("query")?, call.tensor("key")?, call.tensor("value")?];
    // Scores and weights of 16-bit floats are f32, as in PyTorch's kernel.
    let dtype = call.dtype_of(tensors[0]);
    let [q, k, v] = tensors.map(|x| call.cast(x, wide(dtype)));
    let (q, k, v) = (q?, k?, v?);
    let rank = call.rank(q).max(call.rank(k)).max(call.rank(v));
    if call.rank(q).min(call.rank(k)).min(call.rank(v)) < 2 {
        return Err(call.damaged("attention needs matrices"));
    }
    let (q, mut k, mut v) = (with_rank(call, q, rank)?, with_rank(call, k, rank)?, with_rank(call, v, rank)?);
    if call.arg("enable_gqa").is_some() && call.bool("enable_gqa")? && rank >= 3 {
        let heads = call.shape(q)[rank - 3].clone();
        k = repeat_heads(call, k, &heads)?;
        v = repeat_heads(call, v, &heads)?;
    }
    let width = call.shape(q)[rank - 1].clone();
    let scale = match (call.optional_float("scale")?, width.as_int()) {
        (Some(scale), _) => scale,
        (None, Some(width)) => 1.0 / (width as f64).sqrt(),
        (None, None) => return Err(call.unsupported("attention whose width depends on the input")),
    };
    let keys = swapped(call, k, rank - 2, rank - 1)?;
    let scores = matmul(call, q, keys)?;
    let mask = call.optional_tensor("attn_mask")?;
    let causal = call.bool("is_causal")?;
    let scores = masked_scores(call, scores, scale, mask, causal)?;
    let last = call.rank(scores) - 1;
    let weights = match mask {
        Some(_) => masked_softmax(call, scores, last)?,
        None => softmax_of(call, scores, last, false)?,
    };
    let y = matmul(call, weights, v)?;
    Ok([call.cast(y, dtype)?, scores])
}

/// Heads repeated as often as the queries have more of them.
fn repeat_heads(call: &mut Call<'_>, x: ValueId, heads: &Expr) -> Result<ValueId> {
    let shape = call.shape(x);
    let at = shape.len() - 3;
    if shape[at] == *heads {
        return Ok(x);
    }
    let times = Expr::floordiv(heads.clone(), shape[at].clone());
    let mut repeated = shape.clone();
    repeated.insert(at + 1, times);
    let mut joined = shape;
    joined[at] = heads.clone();
    let x = unsqueeze(call, x, at + 1)?;
    let x = call.expand(x, &repeated)?;
    call.reshape(x, &joined)
}

/// `scores * scale`, plus a float mask or minus infinity where a bool mask or causality forbids: one formula.
fn masked_scores(
    call: &mut Call<'_>,
    scores: ValueId,
    scale: f64,
    mask: Option<ValueId>,
    causal: bool,
) -> Result<ValueId> {
    let (dtype, rank) = (call.dtype_of(scores), call.rank(scores));
    let allowed = mask.map(|m| call.dtype_of(m) == DType::Bool);
    let mask = match (mask, allowed) {
        (Some(mask), Some(false)) => Some(call.cast(mask, dtype)?),
        (mask, _) => mask,
    };
    let inputs: Vec<ValueId> = [Some(scores), mask].into_iter().flatten().collect();
    map(call, &inputs, |f, p| {
        let lowest = f.float(dtype, f64::NEG_INFINITY);
        let scale = f.float(dtype, scale);
        let mut score = f.binary(Binary::Mul, p[0], scale);
        if let Some(&mask) = p.get(1) {
            score = match allowed {
                Some(true) => f.select(mask, score, lowest),
                _ => f.binary(Binary::Add, score, mask),
            };
        }
        if causal {
            let row = f.push(ExprNode::Coord(rank as u32 - 2));
            let column = f.push(ExprNode::Coord(rank as u32 - 1));
            let seen = f.binary(Binary::Le, column, row);
            score = f.select(seen, score, lowest);
        }
        score
    })
}

/// The product of matrices in the last two dims, other dims broadcast.
fn matmul(call: &mut Call<'_>, a: ValueId, b: ValueId) -> Result<ValueId> {
    let (left, right) = (call.shape(a), call.shape(b));
    let (m, n) = (left.len() - 2, right.len() - 2);
    let batch =
        infer::broadcast(&[left[..m].to_vec(), right[..n].to_vec()]).map_err(|message| call.damaged(message))?;
    let a = call.expand(a, &[batch.as_slice(), &left[m..]].concat())?;
    let b = call.expand(b, &[batch.as_slice(), &right[n..]].concat())?;
    call.push(Op::MatMul(Epilogue::default()), &[a, b])
}

/// One operand of `einsum`: a value and the letter of each dim.
struct Operand {
    value: ValueId,
    letters: Vec<char>,
}

/// Letters that stand for the dims of an ellipsis, counted from the right.
const DOTS: char = '\u{e000}';

fn einsum(call: &mut Call<'_>) -> Result<Outs> {
    let equation: String = call.str("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let tensors = call.tensors("tensors")?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(right.to_string())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != tensors.len() || tensors.is_empty() {
        return Err(call.damaged(format!("`{equation}` for {} operands", tensors.len())));
    }
    let mut operands = Vec::new();
    for (term, value) in terms.iter().zip(tensors) {
        operands.push(operand(call, term, value)?);
    }
    let result = result_letters(call, &operands, right.as_deref())?;
    let joined = match &operands[..] {
        [only] => alone(call, only, &result)?,
        _ => all_joined(call, operands, &result)?,
    };
    let perm: Option<Vec<usize>> = result.iter().map(|c| joined.letters.iter().position(|l| l == c)).collect();
    let perm = perm.ok_or_else(|| call.damaged(format!("`{equation}` names a dim that no operand has")))?;
    one(call.permute(joined.value, &perm)?)
}

/// One operand, summed over the dims that the result does not have.
fn alone(call: &mut Call<'_>, x: &Operand, result: &[char]) -> Result<Operand> {
    let (kept, gone): (Vec<usize>, Vec<usize>) = (0..x.letters.len()).partition(|&d| result.contains(&x.letters[d]));
    let value = if gone.is_empty() { x.value } else { sum(call, x.value, gone, false)? };
    Ok(Operand { value, letters: kept.into_iter().map(|d| x.letters[d]).collect() })
}

/// Several operands, from left to right.
fn all_joined(call: &mut Call<'_>, operands: Vec<Operand>, result: &[char]) -> Result<Operand> {
    let mut rest = operands.into_iter();
    let Some(mut joined) = rest.next() else { return Err(call.damaged("`einsum` of nothing")) };
    while let Some(next) = rest.next() {
        let needed = |c: &char| result.contains(c) || rest.as_slice().iter().any(|o| o.letters.contains(c));
        joined = contract(call, &joined, &next, &needed)?;
    }
    Ok(joined)
}

/// Reads one term; a letter that stands twice selects the diagonal.
fn operand(call: &mut Call<'_>, term: &str, value: ValueId) -> Result<Operand> {
    let rank = call.rank(value);
    let named = term.replace("...", "").chars().count();
    let dots =
        rank.checked_sub(named).ok_or_else(|| call.damaged(format!("`{term}` for a tensor with {rank} dims")))?;
    if dots > 0 && !term.contains("...") {
        return Err(call.damaged(format!("`{term}` for a tensor with {rank} dims")));
    }
    let ellipsis: String = (0..dots).rev().filter_map(|i| char::from_u32(DOTS as u32 + i as u32)).collect();
    let mut operand = Operand { value, letters: term.replace("...", &ellipsis).chars().collect() };
    while let Some((a, b)) = repeated(&operand.letters) {
        operand.value = diagonal(call, operand.value, a, b, 0)?;
        let letter = operand.letters[a];
        operand.letters.retain(|&l| l != letter);
        operand.letters.push(letter);
    }
    Ok(operand)
}

fn repeated(letters: &[char]) -> Option<(usize, usize)> {
    letters.iter().enumerate().find_map(|(b, l)| letters[..b].iter().position(|k| k == l).map(|a| (a, b)))
}

/// Letters of the result: as written, or the ellipsis and then those that stand once, in alphabetical order.
fn result_letters(call: &Call<'_>, operands: &[Operand], right: Option<&str>) -> Result<Vec<char>> {
    let mut all: Vec<char> = operands.iter().flat_map(|o| o.letters.iter().copied()).collect();
    all.sort_unstable();
    let mut dots: Vec<char> = all.iter().copied().filter(|&c| c >= DOTS).collect();
    dots.dedup();
    dots.reverse();
    match right {
        Some(right) => {
            let text = right.replace("...", &dots.iter().collect::<String>());
            let letters: Vec<char> = text.chars().collect();
            if repeated(&letters).is_some() {
                return Err(call.damaged(format!("`{right}` names a dim twice")));
            }
            Ok(letters)
        }
        None => {
            let once = all.iter().copied().filter(|&c| c < DOTS && all.iter().filter(|&&o| o == c).count() == 1);
            Ok(dots.into_iter().chain(once).collect())
        }
    }
}

/// Sums over the dims whose letters nobody needs. Those of one element are only dropped, as in torch: a sum of integers is i64.
fn sum_out(call: &mut Call<'_>, x: &Operand, needed: &dyn Fn(&char) -> bool) -> Result<Operand> {
    let (kept, gone): (Vec<usize>, Vec<usize>) = (0..x.letters.len()).partition(|&d| needed(&x.letters[d]));
    let shape = call.shape(x.value);
    let value = if gone.iter().any(|&d| shape[d] != Expr::Int(1)) {
        sum(call, x.value, gone, false)?
    } else {
        call.reshape(x.value, &kept.iter().map(|&d| shape[d].clone()).collect::<Vec<_>>())?
    };
    Ok(Operand { value, letters: kept.into_iter().map(|d| x.letters[d]).collect() })
}

/// Two operands to one: a batched matrix product over the letters both have and nobody else needs.
fn contract(call: &mut Call<'_>, a: &Operand, b: &Operand, needed: &dyn Fn(&char) -> bool) -> Result<Operand> {
    let long = |o: &Operand| -> Vec<char> {
        let shape = call.shape(o.value);
        o.letters.iter().zip(shape).filter(|(_, size)| *size != Expr::Int(1)).map(|(c, _)| *c).collect()
    };
    let (long_a, long_b) = (long(a), long(b));
    let kept = |c: &char| needed(c) || long_a.contains(c) && long_b.contains(c);
    let (mut a, mut b) = (sum_out(call, a, &kept)?, sum_out(call, b, &kept)?);
    let dtype = common_dtype(call, &[a.value, b.value])?;
    (a.value, b.value) = (call.cast(a.value, dtype)?, call.cast(b.value, dtype)?);
    let shared = |c: &&char| a.letters.contains(c) && b.letters.contains(c);
    let batch: Vec<char> = a.letters.iter().filter(shared).filter(|c| needed(c)).copied().collect();
    let inner: Vec<char> = a.letters.iter().filter(shared).filter(|c| !needed(c)).copied().collect();
    let rows: Vec<char> = a.letters.iter().filter(|c| !b.letters.contains(c)).copied().collect();
    let columns: Vec<char> = b.letters.iter().filter(|c| !a.letters.contains(c)).copied().collect();
    let sizes = sizes(call, &[&a, &b])?;
    let size = |letters: &[char]| -> Vec<Expr> {
        letters.iter().filter_map(|c| sizes.iter().find(|(l, _)| l == c)).map(|(_, s)| s.clone()).collect()
    };
    let left = arranged(call, &a, [&batch, &rows, &inner], &size)?;
    let right = arranged(call, &b, [&batch, &inner, &columns], &size)?;
    let value = call.push(Op::MatMul(Epilogue::default()), &[left, right])?;
    let letters = [batch, rows, columns].concat();
    let value = call.reshape(value, &size(&letters))?;
    Ok(Operand { value, letters })
}

/// The size of every letter; a size of 1 gives way to a larger one.
fn sizes(call: &Call<'_>, operands: &[&Operand]) -> Result<Vec<(char, Expr)>> {
    let mut sizes: Vec<(char, Expr)> = Vec::new();
    for o in operands {
        for (&letter, size) in o.letters.iter().zip(call.shape(o.value)) {
            match sizes.iter_mut().find(|(l, _)| *l == letter) {
                None => sizes.push((letter, size)),
                Some((_, known)) if *known == Expr::Int(1) => *known = size,
                Some((_, known)) if *known == size || size == Expr::Int(1) => {}
                Some((_, known)) => return Err(call.damaged(format!("a dim has sizes {known} and {size}"))),
            }
        }
    }
    Ok(sizes)
}

/// An operand as `[batch, a, b]`, its dims permuted into these groups and each group made one dim.
fn arranged(
    call: &mut Call<'_>,
    x: &Operand,
    groups: [&Vec<char>; 3],
    size: &dyn Fn(&[char]) -> Vec<Expr>,
) -> Result<ValueId> {
    let order: Vec<char> = groups.iter().flat_map(|g| g.iter().copied()).collect();
    let perm: Vec<usize> = order.iter().filter_map(|c| x.letters.iter().position(|l| l == c)).collect();
    let value = call.permute(x.value, &perm)?;
    let value = call.expand(value, &size(&order))?;
    call.reshape(value, &groups.map(|g| numel(&size(g))))
}

fn cross(call: &mut Call<'_>) -> Result<Outs> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let shapes = [call.shape(a), call.shape(b)];
    let shape = infer::broadcast(&shapes).map_err(|m| call.damaged(m))?;
    let (a, b) = (call.expand(a, &shape)?, call.expand(b, &shape)?);
    let dim = match call.optional_int("dim")? {
        Some(dim) => call.normalize_dim(dim, shape.len())?,
        None => shape.iter().position(|s| *s == Expr::Int(3)).unwrap_or(0),
    };
    if shape.get(dim) != Some(&Expr::Int(3)) {
        return Err(call.damaged("a cross product needs a dim of size 3"));
    }
    let mut parts = Vec::new();
    for i in 0..3 {
        let (j, k) = (Expr::Int((i + 1) % 3), Expr::Int((i + 2) % 3));
        let factors = [
            take(call, a, dim, j.clone())?,
            take(call, b, dim, k.clone())?,
            take(call, a, dim, k)?,
            take(call, b, dim, j)?,
        ];
        let part = map(call, &factors, |f, p| {
            let (left, right) = (f.binary(Binary::Mul, p[0], p[1]), f.binary(Binary::Mul, p[2], p[3]));
            f.binary(Binary::Sub, left, right)
        })?;
        parts.push(unsqueeze(call, part, dim)?);
    }
    one(call.push(Op::Concat { dim }, &parts)?)
}
