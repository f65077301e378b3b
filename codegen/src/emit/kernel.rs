//! Prints a call of a runtime kernel, whichever it is: the kernel's description mirrors its struct field by field.

use super::float;
use super::memory::Slices;
use crate::diag::Diagnostic;
use crate::lower::{Field, Kernel};
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::str::FromStr;

/// `rt::kernels::conv::Conv { x: .., y: .., stride: [1, 1] }`.
pub(super) fn kernel(kernel: &Kernel, slices: &mut Slices<'_, '_>) -> Result<TokenStream, Diagnostic> {
    let path = path(kernel.path)?;
    let generics = if kernel.generics.is_empty() {
        quote!()
    } else {
        let list: Vec<TokenStream> = kernel.generics.iter().map(|g| parse(g)).collect::<Result<_, _>>()?;
        quote!(::<#(#list),*>)
    };
    let fields = fields(&kernel.fields, slices)?;
    Ok(quote!(#path #generics { #(#fields),* }))
}

fn fields(list: &[(&'static str, Field)], slices: &mut Slices<'_, '_>) -> Result<Vec<TokenStream>, Diagnostic> {
    let print = |(name, value): &(&'static str, Field)| {
        let value = field(value, name, slices)?;
        let name = super::names::ident(name);
        Ok(quote!(#name: #value))
    };
    list.iter().map(print).collect()
}

fn field(value: &Field, name: &str, slices: &mut Slices<'_, '_>) -> Result<TokenStream, Diagnostic> {
    let list = |fields: &[Field], slices: &mut Slices<'_, '_>| {
        fields.iter().map(|f| field(f, name, slices)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match value {
        Field::Read(region) => slices.read(region, name)?,
        Field::Write { region, .. } => slices.write(region, name)?,
        Field::Usize(expr) => slices.size(expr),
        Field::Isize(expr) => match expr.as_int() {
            Some(v) => integer(v),
            None => {
                slices.symbols.extend(expr.symbols());
                let value = expr.rust();
                quote!(rt::sym::signed_size(#value))
            }
        },
        Field::Int(expr) => match expr.as_int() {
            Some(v) => integer(v),
            None => {
                slices.symbols.extend(expr.symbols());
                expr.rust()
            }
        },
        Field::F32(bits) => float::f32(f32::from_bits(*bits)),
        Field::F64(bits) => float::f64(f64::from_bits(*bits)),
        Field::Bool(v) => quote!(#v),
        Field::Array(fields) => {
            let fields = list(fields, slices)?;
            quote!([#(#fields),*])
        }
        Field::Unit => quote!(()),
        Field::Option(None) => quote!(None),
        Field::Option(Some(value)) => {
            let value = field(value, name, slices)?;
            quote!(Some(#value))
        }
        Field::Path(text) => path(text)?,
        Field::Struct(text, inner) => {
            let (path, inner) = (path(text)?, fields(inner, slices)?);
            quote!(#path { #(#inner),* })
        }
        Field::Tuple(text, inner) => {
            let (path, inner) = (path(text)?, list(inner, slices)?);
            quote!(#path(#(#inner),*))
        }
    })
}

/// A signed literal.
pub(super) fn integer(v: i64) -> TokenStream {
    let digits = Literal::u64_unsuffixed(v.unsigned_abs());
    if v < 0 { quote!(-#digits) } else { quote!(#digits) }
}

/// A path below `rt::kernels`, unless it begins with `rt::` itself.
fn path(text: &str) -> Result<TokenStream, Diagnostic> {
    let tokens = parse(text)?;
    Ok(if text.starts_with("rt::") { tokens } else { quote!(rt::kernels::#tokens) })
}

fn parse(text: &str) -> Result<TokenStream, Diagnostic> {
    TokenStream::from_str(text).map_err(|e| Diagnostic::bug(format!("`{text}` is no Rust: {e}")))
}
