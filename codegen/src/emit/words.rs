//! The words of the model: what its errors mean, in PyTorch's terms. Nothing but `describe` names the table, so that
//! firmware that describes nothing carries none of it.

use super::interface::Leaf;
use super::{Emitter, doc, float, kernel, literal};
use crate::check::{EntryStep, Source, path_text};
use crate::ir::{InputKind, Scalar, TensorType};
use crate::sym::{Expr, Symbol};
use proc_macro2::TokenStream;
use quote::quote;

/// The static `WORDS` and the function `describe`.
pub(super) fn words(emitter: &Emitter<'_>) -> TokenStream {
    let arguments = (0..emitter.graph.inputs.len()).map(|i| argument(emitter, i));
    let about = doc("What the errors of this model mean; [`describe`] joins them with an error.");
    let about_describe = doc(
        "An error of this model in the words of its program: the path of the argument as Python writes it, the bound, what came; the texts of guards and assertions.",
    );
    quote! {
        #about
        #[allow(dead_code)]
        pub static WORDS: rt::Words = rt::Words {
            arguments: &[#(#arguments),*],
            guards: &GUARDS,
            asserts: &ASSERTS,
        };

        #about_describe
        #[allow(dead_code)]
        #[must_use]
        pub const fn describe(error: rt::Error) -> rt::Described { error.describe(&WORDS) }
    }
}

fn argument(emitter: &Emitter<'_>, index: usize) -> TokenStream {
    let input = &emitter.graph.inputs[index];
    let (python, name) = (&input.python, path_text(&input.path));
    let kind = match &input.kind {
        InputKind::Tensor(v) => {
            let dtype = emitter.graph.ty(*v).dtype;
            TensorType { dtype, shape: emitter.graph.stated_shape(input) }.to_string()
        }
        InputKind::Int(_) => "int".to_string(),
        InputKind::Constant(value) => python_type(value).to_string(),
    };
    let frozen = match &emitter.interface.inputs[index] {
        Leaf::Constant(value) => {
            let value = frozen(value);
            quote!(::core::option::Option::Some(rt::words::Frozen::#value))
        }
        _ => quote!(::core::option::Option::None),
    };
    let forms = emitter.entry.steps.iter().filter_map(|step| {
        let EntryStep::Bind { symbol, source, coefficient, offset } = step else { return None };
        let trivial = *coefficient == 1 && *offset == Expr::Int(0);
        let dim = match *source {
            Source::Size { input, dim } if input == index => dim,
            Source::Value { input } if input == index => 0,
            _ => return None,
        };
        (!trivial).then(|| {
            let (dim, text) = (literal(dim), form(symbol, *coefficient, offset));
            quote!((#dim, #text))
        })
    });
    quote! {
        rt::words::Argument { python: #python, name: #name, kind: #kind, frozen: #frozen, forms: &[#(#forms),*] }
    }
}

/// `3*s0 + 4, where s0 is an integer`
pub(super) fn form(symbol: &Symbol, coefficient: i64, offset: &Expr) -> String {
    let product = Expr::mul(Expr::Int(coefficient), Expr::Symbol(symbol.clone()));
    format!("{}, where {symbol} is an integer", Expr::add(product, offset.clone()))
}

fn python_type(value: &Scalar) -> &'static str {
    match value {
        Scalar::None => "None",
        Scalar::Int(_) => "int",
        Scalar::Float(_) => "float",
        Scalar::Bool(_) => "bool",
        Scalar::Str(_) => "str",
    }
}

fn frozen(value: &Scalar) -> TokenStream {
    match value {
        Scalar::None => quote!(None),
        Scalar::Int(v) => {
            let v = kernel::integer(*v);
            quote!(Int(#v))
        }
        Scalar::Float(v) => {
            let v = float::f64(*v);
            quote!(Float(#v))
        }
        Scalar::Bool(v) => quote!(Bool(#v)),
        Scalar::Str(v) => quote!(Str(#v)),
    }
}
