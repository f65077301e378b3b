//! The body of a generated loop: one pass over the index space, a formula per element.
//!
//! Operands come as slices with an offset and one stride per dim. Where all of them run through memory in the order of
//! the loop, the body is one flat loop; else a nest of `for` loops with one running offset per operand.

use super::kernel::integer;
use super::{float, memory, names};
use crate::diag::Diagnostic;
use crate::ir::{ExprId, ExprNode, Formula, Literal};
use crate::lower::{Loop, Place};
use crate::sym::Expr;
use exported_runtime::DType;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

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
    let operands: Vec<&Operand> = inputs.iter().chain(outputs).collect();
    let rank = work.shape.len();
    let index: Vec<Ident> = (0..rank).map(|d| format_ident!("i{d}")).collect();
    let offset: Vec<Ident> = (0..operands.len()).map(|k| format_ident!("o{k}")).collect();
    let mut inner = element(work, inputs, outputs, &index, &offset)?;
    for d in (0..rank).rev() {
        let (i, size) = (&index[d], memory::size(&work.shape[d]));
        let steps = operands.iter().zip(&offset).map(|(operand, o)| step(o, &operand.place.strides[d]));
        // Each level keeps its own running offsets.
        let keep = offset.iter().map(|o| quote!(let mut #o = #o;));
        inner = quote! {
            #(#keep)*
            for #i in 0..#size {
                { #inner }
                #(#steps)*
            }
        };
    }
    let starts = operands.iter().zip(&offset).map(|(operand, o)| {
        let first = memory::size(&operand.first);
        quote!(let #o: usize = #first;)
    });
    Ok(quote!(let _ = s; #(#starts)* #inner))
}

/// Moves a running offset along a dim.
fn step(offset: &Ident, stride: &Expr) -> TokenStream {
    match stride.as_int() {
        Some(0) => quote!(),
        Some(v) if v > 0 => {
            let v = super::literal(v.unsigned_abs() as usize);
            quote!(#offset = #offset.wrapping_add(#v);)
        }
        Some(v) => {
            let v = super::literal(v.unsigned_abs() as usize);
            quote!(#offset = #offset.wrapping_sub(#v);)
        }
        None => {
            let v = stride.rust();
            quote!(#offset = #offset.wrapping_add((#v) as usize);)
        }
    }
}

/// Loads, formula, stores of one element.
fn element(
    work: &Loop,
    inputs: &[Operand],
    outputs: &[Operand],
    index: &[Ident],
    offset: &[Ident],
) -> Result<TokenStream, Diagnostic> {
    let formula = &work.formula;
    let loads = inputs.iter().enumerate().map(|(k, operand)| {
        let (x, slice, o) = (format_ident!("x{k}"), &operand.slice, &offset[k]);
        let value = quote!(#slice.get(#o).copied().unwrap_or_default());
        if operand.place.dtype == DType::Bool { quote!(let #x = #value != 0;) } else { quote!(let #x = #value;) }
    });
    let mut lets = Vec::new();
    for (i, node) in formula.nodes.iter().enumerate() {
        if let Some(value) = value(formula, node, i, index)? {
            let name = format_ident!("v{i}");
            lets.push(quote!(let #name = #value;));
        }
    }
    let stores = outputs.iter().zip(&formula.results).enumerate().map(|(j, (operand, &result))| {
        let (slice, o, y) = (&operand.slice, &offset[inputs.len() + j], name(formula, result));
        let y = if operand.place.dtype == DType::Bool { quote!(u8::from(#y)) } else { quote!(#y) };
        quote!(if let Some(y) = #slice.get_mut(#o) { *y = #y; })
    });
    Ok(quote!(#(#loads)* #(#lets)* #(#stores)*))
}

/// The variable of a node.
fn name(formula: &Formula, id: ExprId) -> Ident {
    match formula.nodes[id.0 as usize] {
        ExprNode::Param(k) => format_ident!("x{k}"),
        _ => format_ident!("v{}", id.0),
    }
}

/// The value of a node; `None` for a parameter.
fn value(formula: &Formula, node: &ExprNode, at: usize, index: &[Ident]) -> Result<Option<TokenStream>, Diagnostic> {
    let of = |id: ExprId| name(formula, id);
    Ok(Some(match *node {
        ExprNode::Param(_) => return Ok(None),
        ExprNode::Const(dtype, value) => constant(dtype, value),
        ExprNode::Coord(d) => {
            let i = index.get(d as usize).ok_or_else(|| Diagnostic::bug(format!("node {at} asks for dim {d}")))?;
            quote!(#i as i64)
        }
        ExprNode::Size(k) => {
            let size = formula.sizes.get(k as usize);
            let size = size.ok_or_else(|| Diagnostic::bug(format!("node {at} asks for size {k}")))?.rust();
            quote!(#size)
        }
        ExprNode::Unary(op, a) => {
            let (f, a) = (function(&format!("{op:?}")), of(a));
            quote!(rt::scalar::#f(s, #a))
        }
        ExprNode::Binary(op, a, b) => {
            let (f, a, b) = (function(&format!("{op:?}")), of(a), of(b));
            quote!(rt::scalar::#f(s, #a, #b))
        }
        ExprNode::Select(c, a, b) => {
            let (c, a, b) = (of(c), of(a), of(b));
            quote!(rt::scalar::select(s, #c, #a, #b))
        }
        ExprNode::Cast(dtype, a) => {
            let (from, to, a) = (scalar(formula.dtype(a)), scalar(dtype), of(a));
            quote!(rt::scalar::cast::<#from, #to>(#a))
        }
    }))
}

/// The function of `rt::scalar` for a node: its name in snake case, `maximum` and `minimum` for the NaN-propagating pair.
fn function(node: &str) -> Ident {
    let name = match node {
        "Max" => "maximum".to_string(),
        "Min" => "minimum".to_string(),
        _ => {
            let mut snake = String::new();
            for (i, c) in node.chars().enumerate() {
                if c.is_ascii_uppercase() && i > 0 {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            snake
        }
    };
    names::ident(&name)
}

/// The type a dtype is computed in.
fn scalar(dtype: DType) -> TokenStream {
    if dtype == DType::Bool { quote!(bool) } else { memory::element(dtype) }
}

fn constant(dtype: DType, value: Literal) -> TokenStream {
    let number = match value {
        Literal::Float(bits) => f64::from_bits(bits),
        Literal::Int(v) => v as f64,
        Literal::Bool(v) => f64::from(u8::from(v)),
    };
    let ty = scalar(dtype);
    match (dtype, value) {
        (DType::F64, _) => float::f64(number).typed(&ty),
        (DType::F32, _) => float::f32(number as f32).typed(&ty),
        (DType::F16 | DType::Bf16, _) => {
            let number = float::f32(number as f32);
            quote!(#ty::from_f32(#number))
        }
        (DType::Bool, _) => {
            let truth = number != 0.0;
            quote!(#truth)
        }
        (_, Literal::Int(v)) => integer(v).typed(&ty),
        (_, _) => integer(number as i64).typed(&ty),
    }
}

trait Typed {
    /// With the type spelled out, so that the functions' type parameters are known.
    fn typed(self, ty: &TokenStream) -> TokenStream;
}

impl Typed for TokenStream {
    fn typed(self, ty: &TokenStream) -> TokenStream {
        quote!({ let c: #ty = #self; c })
    }
}
