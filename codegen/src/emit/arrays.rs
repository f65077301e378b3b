//! `Inputs::arrays`: the same arguments from arrays, whose sizes are parameters of the function. What the entry checks at
//! run time is checked here when the function is instantiated: a violated range, relation or guard does not compile.
//!
//! A `const` block can print constant text only; which sizes came stands in the compiler's note, `arrays::<9>`.

use super::entry::{self, Demand, Number};
use super::interface::{Form, Leaf, Tensor};
use super::structs::{construct, path};
use super::{Emitter, doc, memory, names, words};
use crate::check::{EntryStep, Source, path_text};
use crate::sym::{Expr, Func, Symbol};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

/// The function; nothing for models whose sizes are all static, whose arguments are arrays anyway.
pub(super) fn arrays(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    let dynamic = |leaf: &Leaf| matches!(leaf, Leaf::Tensor(t) if t.form != Form::Nested);
    if !interface.inputs.iter().any(dynamic) {
        return quote!();
    }
    let mut arrays = Arrays::default();
    let mut variables = names::Variables::default();
    let values: Vec<TokenStream> = interface
        .inputs
        .iter()
        .zip(&emitter.graph.inputs)
        .map(|(leaf, input)| arrays.argument(leaf, &variables.fresh(&path(&input.path))))
        .collect();
    let value = construct(&interface.input_tree, "Inputs", &|i| Some(values[i].clone()));
    let Arrays { sizes, parameters, .. } = &arrays;
    let checks = checks(emitter, &arrays);
    let about = doc(
        "The same from arrays. Sizes that the model does not accept are errors of the compiler, found when the call is built (`cargo check` does not look).",
    );
    quote! {
        #[allow(dead_code, non_snake_case, unused_variables, unused_parens, clippy::all, clippy::pedantic)]
        impl<'a> Inputs<'a> {
            #about
            #[inline]
            #[must_use]
            pub fn arrays<#(const #sizes: usize),*>(#(#parameters),*) -> Self {
                const { #checks }
                #value
            }
        }
    }
}

#[derive(Default)]
struct Arrays {
    /// The size parameters.
    sizes: Vec<Ident>,
    parameters: Vec<TokenStream>,
    /// For each input, the size parameter of each of its dims in the caller's order.
    dims: Vec<Vec<Option<Ident>>>,
}

impl Arrays {
    /// Adds a parameter; gives the value of the field.
    fn argument(&mut self, leaf: &Leaf, name: &Ident) -> TokenStream {
        let tensor = match leaf {
            Leaf::Tensor(tensor) => tensor,
            Leaf::Number(_) => {
                self.dims.push(Vec::new());
                self.parameters.push(quote!(#name: i64));
                return quote!(#name);
            }
            Leaf::Constant(_) => {
                self.dims.push(Vec::new());
                return quote!();
            }
        };
        let dims: Vec<Option<Ident>> = tensor
            .sizes
            .iter()
            .map(|size| {
                size.as_int().is_none().then(|| {
                    let ident = Ident::new(&format!("N{}", self.sizes.len()), Span::call_site());
                    self.sizes.push(ident.clone());
                    ident
                })
            })
            .collect();
        let size = |(size, parameter): (&Expr, &Option<Ident>)| match parameter {
            Some(parameter) => quote!(#parameter),
            None => memory::size(size),
        };
        let shape: Vec<TokenStream> = tensor.sizes.iter().zip(&dims).map(size).collect();
        let array = shape.iter().rev().fold(tensor.item(), |inner, size| quote!([#inner; #size]));
        let mutability = if tensor.mutable { quote!(mut) } else { quote!() };
        self.parameters.push(quote!(#name: &'a #mutability #array));
        self.dims.push(dims);
        field(tensor, name, &shape)
    }
}

fn field(tensor: &Tensor, name: &Ident, shape: &[TokenStream]) -> TokenStream {
    match tensor.form {
        Form::Nested | Form::Rows => quote!(#name),
        Form::Shaped if tensor.mutable => quote!(rt::TensorMut::of(rt::items_mut(#name), [#(#shape),*])),
        Form::Shaped => quote!(rt::TensorRef::of(rt::items(#name), [#(#shape),*])),
    }
}

/// What of the entry protocol depends on sizes alone.
fn checks(emitter: &Emitter<'_>, arrays: &Arrays) -> TokenStream {
    let mut known: BTreeSet<Symbol> = BTreeSet::new();
    let mut statements = Vec::new();
    let constant = |e: &Expr, known: &BTreeSet<Symbol>| e.symbols().is_subset(known) && is_const(e);
    for step in emitter.entry.steps.iter().chain(&emitter.entry.closing) {
        let fits = match step {
            EntryStep::Bind { offset: e, .. } | EntryStep::Equal { expected: e, .. } => constant(e, &known),
            EntryStep::Range { .. } => true,
        };
        let Some(number) = number(emitter, arrays, step.source()).filter(|_| fits) else { continue };
        if let EntryStep::Bind { symbol, .. } = step {
            known.insert(symbol.clone());
        }
        statements.push(entry::statement(step, &number));
    }
    for guard in emitter.entry.guards.iter().filter(|guard| constant(&guard.condition, &known)) {
        let (condition, refused) = (guard.condition.rust(), refused(&guard.message));
        statements.push(quote!(if !(#condition) { #refused }));
    }
    quote!(#(#statements)*)
}

/// A size as the parameter it is; `None` for what is static or no size.
fn number(emitter: &Emitter<'_>, arrays: &Arrays, source: Source) -> Option<Number> {
    let Source::Size { input, dim } = source else { return None };
    let Leaf::Tensor(tensor) = emitter.interface.inputs.get(input)? else { return None };
    let at = tensor.order.iter().position(|&d| d == dim)?;
    let parameter = arrays.dims.get(input)?.get(at)?.as_ref()?;
    let argument = &emitter.graph.inputs[input];
    let place = format!("{}.shape[{dim}]", argument.python);
    let in_rust = format!(" (dim {dim} of `{}`)", path_text(&argument.path));
    let refuse = move |demand: Demand<'_>| {
        let text = match demand {
            Demand::Form { symbol, coefficient, offset } => {
                format!("Expected input {place} to be of the form {}", words::form(symbol, coefficient, offset))
            }
            Demand::Equal(e) => format!("Expected input at {place} to be equal to {e}"),
            Demand::AtLeast(bound) => format!("Expected input at {place} to be >= {bound}"),
            Demand::AtMost(bound) => format!("Expected input at {place} to be <= {bound}"),
        };
        refused(&(text + &in_rust))
    };
    Some(Number { number: quote!(rt::sym::from_size(#parameter)), refuse: Box::new(refuse) })
}

fn refused(text: &str) -> TokenStream {
    quote!(::core::panic!("{}", #text);)
}

/// Whether the compiler can evaluate what [`Expr::rust`] gives: the functions of `rt::sym` over floats that need `libm`
/// are no constants.
fn is_const(e: &Expr) -> bool {
    match e {
        Expr::Op(Func::FloatPow | Func::Sqrt | Func::CeilToInt | Func::FloorToInt | Func::RoundToInt, _) => false,
        Expr::Op(_, args) => args.iter().all(is_const),
        _ => true,
    }
}
