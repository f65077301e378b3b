//! The structs of arguments and results, as the program's signature nests them.

use super::interface::{Form, Interface, Leaf, Structs, Tensor, Tree};
use super::{Emitter, literal, names, scalar};
use crate::ir::PathPart;
use crate::sym::{Expr, Kind};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

/// All of them, with the ways to make inputs of flat slices and of arrays.
pub(super) fn structs(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    let derives = quote!(#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]);
    let unique = quote!(#[derive(::core::fmt::Debug)]);
    let inputs = Structs {
        root: "Inputs",
        about: "Arguments of a call.".into(),
        leaves: &interface.inputs,
        field: &|i| Some(input(emitter, i)),
        derives: if interface.changes_inputs() { unique.clone() } else { derives.clone() },
    };
    let outputs = Structs {
        root: "Outputs",
        about: "Results of a call, borrowed from the workspace.".into(),
        leaves: &interface.outputs,
        field: &|i| Some(output(emitter, i)),
        derives,
    };
    let buffers = Structs {
        root: "OutputsMut",
        about: "Where [`Model::forward_into`] writes the results. A slice may be longer than the result; its first elements are written then.".into(),
        leaves: &interface.outputs,
        field: &|i| match &interface.outputs[i] {
            Leaf::Tensor(t) => Some((t.buffer(), about_tensor(emitter, &output_name(emitter, i), t))),
            _ => None,
        },
        derives: unique,
    };
    let (inputs, outputs) = (inputs.print(&interface.input_tree), outputs.print(&interface.output_tree));
    let (buffers, flat) = (buffers.print(&interface.output_tree), flat(emitter));
    let arrays = super::arrays::arrays(emitter);
    quote!(#inputs #flat #arrays #outputs #buffers)
}

pub(super) fn path(path: &[PathPart]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|part| match part {
            PathPart::Key(key) => key.clone(),
            PathPart::Index(i) => i.to_string(),
        })
        .collect();
    parts.join(".")
}

/// A struct literal of a tree.
pub(super) fn construct(tree: &Tree, name: &str, value: &dyn Fn(usize) -> Option<TokenStream>) -> TokenStream {
    match tree {
        Tree::Leaf(i) => value(*i).unwrap_or_default(),
        Tree::Struct(fields) => {
            let fields = fields.iter().filter_map(|(ident, original, content)| {
                let inner = match content {
                    Tree::Leaf(i) => value(*i)?,
                    Tree::Struct(_) => construct(content, &format!("{name}{}", names::camel(original)), value),
                };
                Some(quote!(#ident: #inner))
            });
            let name = names::ident(name);
            quote!(#name { #(#fields),* })
        }
    }
}

/// Type and documentation of an input.
fn input(emitter: &Emitter<'_>, i: usize) -> (TokenStream, String) {
    let name = path(&emitter.graph.inputs[i].path);
    match &emitter.interface.inputs[i] {
        Leaf::Tensor(t) if t.mutable => {
            (t.reference(), about_tensor(emitter, &name, t) + " A call that succeeds changes it.")
        }
        Leaf::Tensor(t) => (t.reference(), about_tensor(emitter, &name, t)),
        _ => (quote!(i64), format!("`{name}`: an integer.")),
    }
}

/// Type and documentation of an output.
fn output(emitter: &Emitter<'_>, i: usize) -> (TokenStream, String) {
    let name = output_name(emitter, i);
    match &emitter.interface.outputs[i] {
        Leaf::Tensor(t) => (t.reference(), about_tensor(emitter, &name, t)),
        Leaf::Number(e) => (number(e), format!("`{name}` = `{e}`.")),
        Leaf::Constant(value) => {
            let ty = scalar(value).map_or(quote!(()), |(_, ty)| ty);
            (ty, format!("`{name}`: always the same."))
        }
    }
}

/// The type of a number that a call gives.
fn number(e: &Expr) -> TokenStream {
    match e.kind() {
        Kind::Int => quote!(i64),
        Kind::Float => quote!(f64),
        Kind::Bool => quote!(bool),
    }
}

fn output_name(emitter: &Emitter<'_>, i: usize) -> String {
    match &emitter.graph.outputs[i].path[..] {
        [] => "output".to_string(),
        parts => path(parts),
    }
}

/// What a tensor's documentation says: type, and the range of each symbol in it.
fn about_tensor(emitter: &Emitter<'_>, name: &str, tensor: &Tensor) -> String {
    let mut text = format!("`{name}`: `{}`", tensor.text());
    if tensor.order.windows(2).any(|pair| pair[0] > pair[1]) {
        text += ", channels last";
    }
    let symbols: BTreeSet<_> = tensor.sizes.iter().flat_map(Expr::symbols).collect();
    for symbol in symbols {
        let range = emitter.graph.ranges.get(&symbol);
        let low = emitter.options.bounds.enforced(range.min).unwrap_or(0);
        let high = range.max.map(|m| format!("={m}")).unwrap_or_default();
        text += &format!("; `{symbol}` in `{low}..{high}`");
    }
    text + "."
}

/// `Inputs::flat`: the same arguments from slices in row-major order.
fn flat(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    if !Interface::borrows(&interface.input_tree, &interface.inputs) {
        return quote!();
    }
    let mut parameters = Vec::new();
    let mut variables = names::Variables::default();
    let mut values: Vec<TokenStream> = Vec::new();
    for (i, leaf) in interface.inputs.iter().enumerate() {
        let name = variables.fresh(&path(&emitter.graph.inputs[i].path));
        let (ty, value) = match leaf {
            Leaf::Tensor(t) => from_slice(i, &name, t),
            Leaf::Number(_) => (quote!(i64), quote!(#name)),
            Leaf::Constant(_) => {
                values.push(quote!());
                continue;
            }
        };
        parameters.push(quote!(#name: #ty));
        values.push(value);
    }
    let value = construct(&interface.input_tree, "Inputs", &|i| Some(values[i].clone()));
    let (result, ok) = (quote!(::core::result::Result), quote!(::core::result::Result::Ok));
    quote! {
        #[allow(dead_code, non_snake_case, clippy::all, clippy::pedantic)]
        impl<'a> Inputs<'a> {
            /// The same from flat slices, elements in row-major order.
            ///
            /// # Errors
            /// A slice whose length is not that of its argument.
            #[inline]
            pub fn flat(#(#parameters),*) -> #result<Self, rt::Error> { #ok(#value) }
        }
    }
}

/// Type of the parameter `name`, and the field that it becomes.
fn from_slice(input: usize, name: &Ident, tensor: &Tensor) -> (TokenStream, TokenStream) {
    let (item, input) = (tensor.item(), literal(input));
    let shaped = |function: TokenStream| {
        quote!({
            let found = #name.len();
            rt::#function(#name).ok_or(rt::Error::Length { input: #input, found })?
        })
    };
    match tensor.form {
        Form::Nested if tensor.mutable => (quote!(&'a mut [#item]), shaped(quote!(nested_mut))),
        Form::Rows if tensor.mutable => (quote!(&'a mut [#item]), shaped(quote!(rows_mut))),
        Form::Nested => (quote!(&'a [#item]), shaped(quote!(nested))),
        Form::Rows => (quote!(&'a [#item]), shaped(quote!(rows))),
        Form::Shaped => (tensor.reference(), quote!(#name)),
    }
}
