//! The body of a generated loop: one pass over the index space, a formula per element.
//!
//! Operands come as slices with an offset and one stride per dim; `lower` has put the dims into memory order and merged
//! what can be merged. The inner loop runs over zipped slices, so it needs no index and no bounds check and vectorizes:
//! contiguous operands as they are, strided ones by `step_by`, repeated ones as variables read before it. Outer dims are
//! plain loops that cut the slices. Three refinements:
//!
//! * An inner dim of a few entries (the channels of an image) is unrolled, and the loop runs along the dim before it.
//! * A long inner dim that an operand strides through (a transposition) is cut into blocks, so that the cache lines of
//!   one block serve the next rows.
//! * Operands that share memory in any other way than element by element go through indices, one element at a time.

use super::formula::{self, Printed, Variables};
use super::memory;
use crate::diag::Diagnostic;
use crate::ir::ExprNode;
use crate::lower::{Loop, Place};
use crate::sym::Expr;
use exported_runtime::DType;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

/// Longest inner dim that is unrolled.
const UNROLL: i64 = 4;
/// Entries of a block of a strided inner dim: as many cache lines stay in a first-level cache of 16 KB.
const BLOCK: i64 = 128;

/// An operand of a loop, as its body finds it.
pub(super) struct Operand {
    /// Variable that holds `&[T]`, or `&mut [T]` for an output and for inputs that share memory with one; `T` is the
    /// element type of the dtype (`u8` for bool).
    pub(super) slice: Ident,
    /// Element of that slice at index `[0, 0, ..]`.
    pub(super) first: Expr,
    /// Sizes, strides and dtype.
    pub(super) place: Place,
}

/// Statements that run the loop. In scope: the slices, the SIMD token `s`, and every symbol as an `i64` of its name.
///
/// # Errors
/// A formula that contradicts itself: our fault.
pub(super) fn body(work: &Loop, inputs: &[Operand], outputs: &[Operand]) -> Result<TokenStream, Diagnostic> {
    if work.shape.contains(&Expr::Int(0)) {
        return Ok(quote!(let _ = s;));
    }
    let nest = Nest::new(work, inputs, outputs);
    let sizes = work.formula.sizes.iter().enumerate().map(|(k, e)| {
        let (name, value) = (nest.name(&format!("size{k}")), e.rust());
        quote!(let #name = #value;)
    });
    let run = match nest.shared() {
        Sharing::Mixed => nest.indexed()?,
        Sharing::InPlace(partners) => match nest.unrolled(&partners) {
            Some(width) => nest.unroll(width, &partners)?,
            None => nest.zipped(&partners)?,
        },
    };
    Ok(quote!(let _ = s; #(#sizes)* #run))
}

/// For each input the output that stands exactly where it does, or that inputs and outputs meet otherwise.
enum Sharing {
    InPlace(Vec<Option<usize>>),
    Mixed,
}

struct Nest<'a> {
    work: &'a Loop,
    inputs: &'a [Operand],
    outputs: &'a [Operand],
    /// Names in scope that must stay visible.
    taken: BTreeSet<String>,
}

impl<'a> Nest<'a> {
    fn new(work: &'a Loop, inputs: &'a [Operand], outputs: &'a [Operand]) -> Self {
        let operands = || inputs.iter().chain(outputs);
        let mut taken: BTreeSet<String> = operands().map(|o| o.slice.to_string()).collect();
        let exprs = operands().flat_map(|o| o.place.strides.iter().chain([&o.first]));
        let exprs = exprs.chain(&work.shape).chain(&work.formula.sizes);
        taken.extend(exprs.flat_map(Expr::symbols).map(|s| s.to_string()));
        taken.insert("s".into());
        Nest { work, inputs, outputs, taken }
    }

    /// An identifier that hides none of the names in scope.
    fn name(&self, base: &str) -> Ident {
        let mut name = base.to_string();
        while self.taken.contains(&name) {
            name.push('_');
        }
        Ident::new(&name, Span::call_site())
    }

    fn rank(&self) -> usize {
        self.work.shape.len()
    }

    fn shared(&self) -> Sharing {
        let twice = |j: usize| self.outputs[..j].iter().any(|o| o.slice == self.outputs[j].slice);
        if (0..self.outputs.len()).any(twice) {
            return Sharing::Mixed;
        }
        let mut partners = Vec::new();
        for input in self.inputs {
            let partner = self.outputs.iter().position(|o| o.slice == input.slice);
            let same = |o: &Operand| o.first == input.first && o.place.strides == input.place.strides;
            if partner.is_some_and(|j| !same(&self.outputs[j])) {
                return Sharing::Mixed;
            }
            partners.push(partner);
        }
        Sharing::InPlace(partners)
    }

    fn uses_coordinate(&self, dim: usize) -> bool {
        self.work.formula.nodes.contains(&ExprNode::Coord(dim as u32))
    }

    fn index(&self, dim: usize) -> Ident {
        self.name(&format!("i{dim}"))
    }

    fn variables(&self, params: Vec<Ident>) -> Variables {
        Variables {
            params,
            coordinates: (0..self.rank()).map(|d| self.name(&format!("c{d}"))).collect(),
            sizes: (0..self.work.formula.sizes.len()).map(|k| self.name(&format!("size{k}"))).collect(),
            prefix: if self.taken.iter().any(|t| t.starts_with('v')) { "value".into() } else { "v".into() },
        }
    }

    /// `let c0 = i0 as i64;` for the coordinates of these dims that the formula asks for.
    fn coordinates(&self, dims: std::ops::Range<usize>) -> TokenStream {
        dims.filter(|&d| self.uses_coordinate(d))
            .map(|d| {
                let (c, i) = (self.name(&format!("c{d}")), self.index(d));
                quote!(let #c = #i as i64;)
            })
            .collect()
    }

    /// Loops over the first `depth` dims around `inner`.
    fn outer(&self, depth: usize, inner: TokenStream) -> TokenStream {
        (0..depth).rev().fold(inner, |inner, d| {
            let (i, size, coordinate) = (self.index(d), memory::size(&self.work.shape[d]), self.coordinates(d..d + 1));
            quote!(for #i in 0..#size { #coordinate #inner })
        })
    }

    /// Offset of an operand inside the loops over the first `depth` dims.
    fn offset(&self, operand: &Operand, depth: usize) -> TokenStream {
        self.partial_offset(operand, &operand.first, depth).finish(None)
    }

    fn partial_offset(&self, operand: &Operand, first: &Expr, depth: usize) -> Offset {
        let mut sum = Offset::new(first);
        for d in 0..depth {
            let i = self.index(d);
            sum.add(&operand.place.strides[d], quote!(#i));
        }
        sum
    }

    /// The inner loop over zipped slices, blocks and outer dims around it.
    fn zipped(&self, partners: &[Option<usize>]) -> Result<TokenStream, Diagnostic> {
        let Some(depth) = self.rank().checked_sub(1) else {
            return self.row(partners, 0, None);
        };
        if !self.is_transposing(depth) {
            return Ok(self.outer(depth, self.row(partners, depth, None)?));
        }
        let (block, n) = (self.name("block"), self.name("n"));
        let row = self.row(partners, depth, Some((&block, &n)))?;
        let last = depth - 1;
        let (i, rows, coordinate) =
            (self.index(last), memory::size(&self.work.shape[last]), self.coordinates(last..depth));
        let (total, step) = (memory::size(&self.work.shape[depth]), memory::size(&Expr::Int(BLOCK)));
        let blocks = quote! {
            for #block in (0..#total).step_by(#step) {
                let #n = Ord::min(#step, #total - #block);
                for #i in 0..#rows { #coordinate #row }
            }
        };
        Ok(self.outer(last, blocks))
    }

    /// Whether an operand strides through the long inner dim and runs along the dim before it.
    fn is_transposing(&self, depth: usize) -> bool {
        let long = self.work.shape[depth].as_int().is_none_or(|n| n > BLOCK);
        let crosses = |o: &Operand| {
            let strides = &o.place.strides;
            strides[depth].as_int().is_none_or(|s| s.abs() >= 8) && strides[depth - 1] == Expr::Int(1)
        };
        long && depth > 0 && self.inputs.iter().chain(self.outputs).any(crosses)
    }

    /// One pass over the inner dim, which follows `depth` outer ones; of a block of it, if one is given as start and
    /// length.
    fn row(
        &self,
        partners: &[Option<usize>],
        depth: usize,
        block: Option<(&Ident, &Ident)>,
    ) -> Result<TokenStream, Diagnostic> {
        let one = Expr::Int(1);
        let size = self.work.shape.get(depth).unwrap_or(&one);
        let row = Row { nest: self, depth, size, block };
        let (mut streams, mut before, mut inside) = (Streams::default(), TokenStream::new(), TokenStream::new());
        let outputs: Vec<Ident> = (0..self.outputs.len()).map(|j| self.name(&format!("y{j}"))).collect();
        for (y, operand) in outputs.iter().zip(self.outputs) {
            streams.push(quote!(#y), row.stream(operand, true));
        }
        let params: Vec<Ident> = (0..self.inputs.len()).map(|k| self.name(&format!("x{k}"))).collect();
        for ((x, operand), partner) in params.iter().zip(self.inputs).zip(partners) {
            if let Some(y) = partner.and_then(|j| outputs.get(j)) {
                inside.extend(quote!(let #x = *#y;));
            } else if row.stride(operand) == Expr::Int(0) {
                before.extend(load(x, &operand.slice, self.offset(operand, depth)));
            } else {
                streams.push(quote!(&#x), row.stream(operand, false));
            }
            inside.extend(truth(x, operand));
        }
        if self.uses_coordinate(depth) && depth < self.rank() {
            let i = self.index(depth);
            streams.push(quote!(#i), row.indices());
            inside.extend(self.coordinates(depth..depth + 1));
        }
        let Printed { statements, results } = formula::print(&self.work.formula, &self.variables(params))?;
        let (pattern, source) = streams.zipped();
        Ok(quote! {
            #before
            for #pattern in #source { #inside #statements #(*#outputs = #results;)* }
        })
    }

    /// Width of the inner dim if it can be unrolled: short, dense in every output, and each input dense, repeated, or
    /// running along the dim before.
    fn unrolled(&self, partners: &[Option<usize>]) -> Option<usize> {
        let depth = self.rank().checked_sub(2)?;
        let width = self.work.shape[depth + 1].as_int().filter(|w| (2..=UNROLL).contains(w))?;
        let (one, wide) = (Expr::Int(1), Expr::Int(width));
        let pair = |o: &Operand| (o.place.strides[depth].clone(), o.place.strides[depth + 1].clone());
        let dense = |o: &Operand| pair(o) == (wide.clone(), one.clone());
        let fits = |o: &Operand| {
            let (along, across) = pair(o);
            dense(o) || across.as_int().is_some_and(|s| s >= 0) && (along == one || along == Expr::Int(0))
        };
        let inputs = self.inputs.iter().zip(partners).all(|(o, partner)| partner.is_some() || fits(o));
        let coordinates = self.uses_coordinate(depth) || self.uses_coordinate(depth + 1);
        (self.outputs.iter().all(dense) && inputs && !coordinates).then(|| usize::try_from(width).unwrap_or(1))
    }

    /// A loop along the dim before the inner one; the inner one is written out.
    fn unroll(&self, width: usize, partners: &[Option<usize>]) -> Result<TokenStream, Diagnostic> {
        let depth = self.rank().saturating_sub(2);
        let n = &self.work.shape[depth];
        let lanes = super::literal(width);
        let len = memory::size(&Expr::mul(n.clone(), Expr::from(width)));
        let (mut streams, mut before) = (Streams::default(), TokenStream::new());
        let outputs: Vec<Ident> = (0..self.outputs.len()).map(|j| self.name(&format!("y{j}"))).collect();
        for (y, operand) in outputs.iter().zip(self.outputs) {
            let (slice, offset) = (&operand.slice, self.offset(operand, depth));
            let part = quote!(rt::part_mut(#slice, #offset, #len));
            streams.push(quote!(#y), quote!(#part.as_chunks_mut::<#lanes>().0.iter_mut()));
        }
        // Where each input's value of each lane is found.
        let mut values: Vec<Vec<TokenStream>> = vec![Vec::new(); width];
        for (k, (operand, partner)) in self.inputs.iter().zip(partners).enumerate() {
            let x = self.name(&format!("x{k}"));
            let (slice, dense) = (&operand.slice, operand.place.strides[depth] == Expr::from(width));
            if let Some(y) = partner.and_then(|j| outputs.get(j)) {
                values.iter_mut().enumerate().for_each(|(lane, v)| v.push(lane_of(y, lane)));
            } else if dense && operand.place.strides[depth + 1] == Expr::Int(1) {
                let offset = self.offset(operand, depth);
                let part = quote!(rt::part(#slice, #offset, #len).as_chunks::<#lanes>().0);
                streams.push(quote!(#x), quote!(#part.iter()));
                values.iter_mut().enumerate().for_each(|(lane, v)| v.push(lane_of(&x, lane)));
            } else {
                self.lanes(operand, depth, &x, &mut values, &mut streams, &mut before);
            }
        }
        let mut inside = TokenStream::new();
        for (lane, values) in values.iter().enumerate() {
            let params: Vec<Ident> = (0..self.inputs.len()).map(|k| self.name(&format!("a{k}"))).collect();
            let loads = params.iter().zip(values).zip(self.inputs).map(|((a, value), operand)| {
                let truth = truth(a, operand);
                quote!(let #a = #value; #truth)
            });
            let Printed { statements, results } = formula::print(&self.work.formula, &self.variables(params.clone()))?;
            let stores = outputs.iter().zip(&results).map(|(y, result)| {
                let place = lane_of(y, lane);
                quote!(#place = #result;)
            });
            inside.extend(quote!({ #(#loads)* #statements #(#stores)* }));
        }
        let (pattern, source) = streams.zipped();
        Ok(self.outer(depth, quote!(#before for #pattern in #source { #inside })))
    }

    /// Lanes of an input that runs along the dim before the inner one, or repeats there.
    fn lanes(
        &self,
        operand: &Operand,
        depth: usize,
        x: &Ident,
        values: &mut [Vec<TokenStream>],
        streams: &mut Streams,
        before: &mut TokenStream,
    ) {
        let (slice, n) = (&operand.slice, memory::size(&self.work.shape[depth]));
        let across = operand.place.strides[depth + 1].as_int().unwrap_or(0);
        for (lane, values) in values.iter_mut().enumerate() {
            let name = if across == 0 { x.clone() } else { self.name(&format!("{x}_{lane}")) };
            values.push(quote!(#name));
            if across == 0 && lane > 0 {
                continue;
            }
            let more = Expr::Int(across * lane as i64);
            let first = Expr::add(operand.first.clone(), more);
            let offset = self.partial_offset(operand, &first, depth).finish(None);
            if operand.place.strides[depth] == Expr::Int(0) {
                before.extend(load(&name, slice, offset));
            } else {
                streams.push(quote!(&#name), quote!(rt::part(#slice, #offset, #n).iter()));
            }
        }
    }

    /// One element at a time through indices, where operands share memory in a way that slices cannot.
    fn indexed(&self) -> Result<TokenStream, Diagnostic> {
        let rank = self.rank();
        let params: Vec<Ident> = (0..self.inputs.len()).map(|k| self.name(&format!("x{k}"))).collect();
        let loads = params.iter().zip(self.inputs).map(|(x, operand)| {
            let (load, truth) = (load(x, &operand.slice, self.offset(operand, rank)), truth(x, operand));
            quote!(#load #truth)
        });
        let Printed { statements, results } = formula::print(&self.work.formula, &self.variables(params.clone()))?;
        let stores = self.outputs.iter().zip(&results).map(|(operand, result)| {
            let (slice, offset) = (&operand.slice, self.offset(operand, rank));
            quote!(if let Some(y) = #slice.get_mut(#offset) { *y = #result; })
        });
        Ok(self.outer(rank, quote!(#(#loads)* #statements #(#stores)*)))
    }
}

/// `let x = slice.get(offset)..`: 0 where the offset is outside.
fn load(x: &Ident, slice: &Ident, offset: TokenStream) -> TokenStream {
    quote!(let #x = #slice.get(#offset).copied().unwrap_or_default();)
}

/// Bytes of bool tensors become truth values.
fn truth(x: &Ident, operand: &Operand) -> TokenStream {
    if operand.place.dtype == DType::Bool { quote!(let #x = #x != 0;) } else { quote!() }
}

fn lane_of(chunk: &Ident, lane: usize) -> TokenStream {
    let lane = super::literal(lane);
    quote!(#chunk[#lane])
}

/// Iterators that run together.
#[derive(Default)]
struct Streams {
    patterns: Vec<TokenStream>,
    sources: Vec<TokenStream>,
}

impl Streams {
    fn push(&mut self, pattern: TokenStream, source: TokenStream) {
        self.patterns.push(pattern);
        self.sources.push(source);
    }

    /// `((a, b), c)` and `a.zip(b).zip(c)`.
    fn zipped(self) -> (TokenStream, TokenStream) {
        let pattern = self.patterns.into_iter().reduce(|a, b| quote!((#a, #b)));
        let source = self.sources.into_iter().reduce(|a, b| quote!(#a.zip(#b)));
        (pattern.unwrap_or_default(), source.unwrap_or_default())
    }
}

/// The inner dim of a nest, or a block of it.
struct Row<'a> {
    nest: &'a Nest<'a>,
    depth: usize,
    size: &'a Expr,
    block: Option<(&'a Ident, &'a Ident)>,
}

impl Row<'_> {
    /// Distance of neighbours; a nest without dims is one element.
    fn stride(&self, operand: &Operand) -> Expr {
        operand.place.strides.get(self.depth).cloned().unwrap_or(Expr::Int(1))
    }

    fn indices(&self) -> TokenStream {
        let size = memory::size(self.size);
        match self.block {
            Some((block, n)) => quote!((#block..#block + #n)),
            None => quote!((0..#size)),
        }
    }

    /// The operand's elements along the row.
    fn stream(&self, operand: &Operand, write: bool) -> TokenStream {
        let stride = self.stride(operand);
        let backwards = is_negative(&stride);
        let distance = if backwards { Expr::neg(stride.clone()) } else { stride.clone() };
        let step = memory::size(&distance);
        // Elements from the first to the last one.
        let span = match self.block {
            _ if distance == Expr::Int(1) => self.len(),
            Some((_, n)) => quote!((#n - 1) * #step + 1),
            None => {
                let last = Expr::mul(Expr::sub(self.size.clone(), Expr::Int(1)), distance.clone());
                memory::size(&Expr::add(last, Expr::Int(1)))
            }
        };
        let mut sum = self.nest.partial_offset(operand, &operand.first, self.depth);
        if let Some((block, _)) = self.block {
            sum.add(&stride, quote!(#block));
        }
        // A stream that runs backwards begins at the lowest address.
        let offset = sum.finish(backwards.then(|| quote!(#span - 1)));
        let (slice, part, iter) = match write {
            true => (&operand.slice, quote!(rt::part_mut), quote!(iter_mut())),
            false => (&operand.slice, quote!(rt::part), quote!(iter())),
        };
        let reversed = if backwards { quote!(.rev()) } else { quote!() };
        let stepped = match distance.as_int() {
            Some(1) => quote!(),
            Some(_) => quote!(.step_by(#step)),
            None => quote!(.step_by(Ord::max(1, #step))),
        };
        quote!(#part(#slice, #offset, #span).#iter #reversed #stepped)
    }

    fn len(&self) -> TokenStream {
        match self.block {
            Some((_, n)) => quote!(#n),
            None => memory::size(self.size),
        }
    }
}

/// Whether a stride runs backwards. A symbolic one is a product of sizes with a sign.
fn is_negative(stride: &Expr) -> bool {
    let value = stride.eval(&|_| Some(1));
    value.and_then(|v| v.as_int()).is_some_and(|v| v < 0)
}

/// A sum of constants and `index * stride`, positive terms first, so that it stays in `usize`.
struct Offset {
    first: Expr,
    up: Vec<TokenStream>,
    down: Vec<TokenStream>,
}

impl Offset {
    fn new(first: &Expr) -> Self {
        Offset { first: first.clone(), up: Vec::new(), down: Vec::new() }
    }

    fn add(&mut self, stride: &Expr, index: TokenStream) {
        let backwards = is_negative(stride);
        let distance = if backwards { Expr::neg(stride.clone()) } else { stride.clone() };
        let step = memory::size(&distance);
        let term = match distance.as_int() {
            Some(0) => return,
            Some(1) => index,
            _ => quote!(#index * #step),
        };
        if backwards { self.down.push(term) } else { self.up.push(term) }
    }

    fn finish(self, subtract: Option<TokenStream>) -> TokenStream {
        let mut terms = self.up;
        if self.first != Expr::Int(0) || terms.is_empty() {
            terms.insert(0, memory::size(&self.first));
        }
        // Wrapping, since a dim of size 0 has no last element to begin at.
        self.down
            .into_iter()
            .chain(subtract)
            .fold(quote!(#(#terms)+*), |sum, term| quote!(usize::wrapping_sub(#sum, #term)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Formula, Unary};
    use crate::lower::BufferId;

    /// The printed loop of `y = -x` over these sizes and strides; in place when `shared`.
    fn negation(shape: &[i64], x: (i64, &[i64]), y: (i64, &[i64]), shared: bool) -> String {
        let ints = |list: &[i64]| list.iter().map(|&v| Expr::Int(v)).collect::<Vec<_>>();
        let operand = |name: &str, (first, strides): (i64, &[i64])| Operand {
            slice: Ident::new(name, Span::call_site()),
            first: Expr::Int(first),
            place: Place {
                buffer: BufferId(0),
                dtype: DType::F32,
                offset: Expr::Int(first),
                shape: ints(shape),
                strides: ints(strides),
            },
        };
        let mut formula = Formula::new(&[DType::F32]);
        let p = formula.param(0);
        let result = formula.unary(Unary::Neg, p);
        formula.results.push(result);
        let (x, y) = (operand(if shared { "out" } else { "from" }, x), operand("out", y));
        let work = Loop { shape: ints(shape), formula, inputs: vec![x.place.clone()], outputs: vec![y.place.clone()] };
        let body = body(&work, &[x], &[y]).expect("prints");
        let file = syn::parse_file(&format!("fn f() {{ {body} }}")).expect("is Rust");
        let text = prettyplease::unparse(&file);
        text.split_whitespace().collect::<Vec<_>>().join(" ").replace("fn f() { let _ = s; ", "")
    }

    #[test]
    fn a_flat_loop_zips_slices() {
        assert_eq!(
            negation(&[8], (2, &[1]), (0, &[1]), false),
            "for (y0, &x0) in rt::part_mut(out, 0, 8).iter_mut().zip(rt::part(from, 2, 8).iter()) { *y0 = -x0; } }"
        );
        assert_eq!(
            negation(&[8], (0, &[1]), (0, &[1]), true),
            "for y0 in rt::part_mut(out, 0, 8).iter_mut() { let x0 = *y0; *y0 = -x0; } }"
        );
    }

    #[test]
    fn repeated_operands_are_read_before_the_row_and_strided_ones_step() {
        assert_eq!(
            negation(&[3, 8], (0, &[1, 0]), (0, &[16, 2]), false),
            "for i0 in 0..3 { let x0 = from.get(i0).copied().unwrap_or_default(); \
             for y0 in rt::part_mut(out, i0 * 16, 15).iter_mut().step_by(2) { *y0 = -x0; } } }"
        );
        assert_eq!(
            negation(&[8], (7, &[-1]), (0, &[1]), false),
            "for (y0, &x0) in rt::part_mut(out, 0, 8) .iter_mut() .zip(rt::part(from, usize::wrapping_sub(7, 8 - 1), 8)\
             .iter().rev()) { *y0 = -x0; } }"
        );
    }

    #[test]
    fn few_channels_are_unrolled() {
        assert_eq!(
            negation(&[50, 2], (0, &[1, 50]), (0, &[2, 1]), false),
            "for ((y0, &x0_0), &x0_1) in rt::part_mut(out, 0, 100) .as_chunks_mut::<2>() .0 .iter_mut() \
             .zip(rt::part(from, 0, 50).iter()) .zip(rt::part(from, 50, 50).iter()) \
             { { let a0 = x0_0; y0[0] = -a0; } { let a0 = x0_1; y0[1] = -a0; } } }"
        );
    }

    #[test]
    fn long_transpositions_go_by_blocks() {
        assert_eq!(
            negation(&[40, 300], (0, &[1, 40]), (0, &[300, 1]), false),
            "for block in (0..300).step_by(128) { let n = Ord::min(128, 300 - block); for i0 in 0..40 { \
             for (y0, &x0) in rt::part_mut(out, i0 * 300 + block, n) .iter_mut() \
             .zip( rt::part(from, i0 + block * 40, (n - 1) * 40 + 1).iter().step_by(40), ) { *y0 = -x0; } } } }"
        );
    }

    #[test]
    fn shifted_operands_of_one_slice_go_through_indices() {
        assert_eq!(
            negation(&[7], (1, &[1]), (0, &[1]), true),
            "for i0 in 0..7 { let x0 = out.get(1 + i0).copied().unwrap_or_default(); \
             if let Some(y) = out.get_mut(i0) { *y = -x0; } } }"
        );
    }
}
