//! The flat door: `rt::program::Program` for the model, with its signature as a static table.

use super::interface::{Form, Leaf, Tensor};
use super::run::region;
use super::structs::construct;
use super::{Emitter, doc, literal, memory, scalar};
use crate::diag::Diagnostic;
use crate::ir::{PathPart, Scalar};
use crate::sym::Expr;
use exported_runtime::DType;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use std::collections::BTreeSet;

/// The signature and the implementation of the trait.
///
/// # Errors
/// Outputs without a place: our fault.
pub(super) fn program(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let (signature, forward) = (signature(emitter), forward(emitter)?);
    let generics = emitter.operators.generics();
    let (of, bounded) = (generics.arguments(&quote!()), generics.bounded(&quote!()));
    Ok(quote! {
        #signature

        #[allow(clippy::all, clippy::pedantic, unused_variables, unused_mut)]
        impl #bounded rt::program::Program for Model #of {
            fn signature(&self) -> &'static rt::program::Signature { &SIGNATURE }

            #forward

            fn reset(&mut self) { Model::reset(self); }

            fn words(&self) -> &'static rt::Words { &WORDS }
        }
    })
}

/// The static table that describes arguments and results.
fn signature(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    let inputs = ports(emitter, &interface.inputs, |i| path(&emitter.graph.inputs[i].path, "input"));
    let outputs = ports(emitter, &interface.outputs, |i| path(&emitter.graph.outputs[i].path, "output"));
    let mutates = |i: usize| emitter.graph.outputs[i].mutates;
    let outputs = outputs.into_iter().enumerate().map(|(i, port)| match mutates(i).map(literal) {
        Some(input) => quote!(rt::program::Port { mutates: ::core::option::Option::Some(#input), ..#port }),
        None => port,
    });
    let (inputs_len, outputs_len) = (literal(interface.inputs.len()), literal(interface.outputs.len()));
    let name = &emitter.options.name;
    let about = doc("The signature as the flat interface describes it.");
    quote! {
        static INPUT_PORTS: [rt::program::Port; #inputs_len] = [#(#inputs),*];
        static OUTPUT_PORTS: [rt::program::Port; #outputs_len] = [#(#outputs),*];
        #about
        #[allow(dead_code)]
        pub static SIGNATURE: rt::program::Signature = rt::program::Signature {
            name: #name,
            inputs: &INPUT_PORTS,
            outputs: &OUTPUT_PORTS,
            workspace_bytes: WORKSPACE_BYTES,
            state_bytes: STATE_BYTES,
            weight_bytes: WEIGHT_BYTES,
        };
    }
}

/// The call: values are checked and become arguments, results are copied.
fn forward(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let interface = &emitter.interface;
    let (inputs_len, outputs_len) = (literal(interface.inputs.len()), literal(interface.outputs.len()));
    let (arguments, rooms, results) = (arguments(emitter), rooms(emitter), results(emitter)?);
    let value = construct(&interface.input_tree, "Inputs", &|i| Some(argument(&interface.inputs[i], i)));
    let ins: Vec<Ident> = (0..interface.inputs.len()).map(|i| format_ident!("in{i}")).collect();
    let outs: Vec<Ident> = (0..interface.outputs.len()).map(|i| format_ident!("out{i}")).collect();
    let (result, call_error) = (quote!(::core::result::Result), quote!(rt::program::CallError));
    Ok(quote! {
        fn forward_watched(
            &mut self,
            level: rt::Level,
            workspace: &mut rt::Workspace<'_>,
            inputs: &[rt::program::Value<'_>],
            outputs: &mut [rt::program::ValueMut<'_>],
            watch: ::core::option::Option<&mut dyn ::core::ops::FnMut(usize)>,
        ) -> #result<(), #call_error> {
            let [#(#ins),*] = inputs else {
                return #result::Err(#call_error::InputCount { expected: #inputs_len, found: inputs.len() });
            };
            let found = outputs.len();
            let [#(#outs),*] = outputs else {
                return #result::Err(#call_error::OutputCount { expected: #outputs_len, found });
            };
            #arguments
            #rooms
            let mut run = self.start_at(level, workspace, #value)?;
            match watch {
                ::core::option::Option::None => run.all()?,
                ::core::option::Option::Some(watch) => loop {
                    let layer = run.next();
                    if !run.step()? {
                        break;
                    }
                    watch(layer);
                },
            }
            #results
            #result::Ok(())
        }
    })
}

fn path(parts: &[PathPart], bare: &str) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            PathPart::Key(key) => key.clone(),
            PathPart::Index(i) => i.to_string(),
        })
        .collect();
    if parts.is_empty() { bare.into() } else { parts.join(".") }
}

fn ports(emitter: &Emitter<'_>, leaves: &[Leaf], name: impl Fn(usize) -> String) -> Vec<TokenStream> {
    let port = |(i, leaf): (usize, &Leaf)| {
        let name = name(i);
        let kind = match leaf {
            Leaf::Tensor(t) => tensor_port(emitter, t),
            Leaf::Number(e) => {
                let kind = variant_of(e.kind());
                quote!(rt::program::PortKind::#kind)
            }
            Leaf::Constant(Scalar::Int(_)) => quote!(rt::program::PortKind::Int),
            Leaf::Constant(Scalar::Float(_)) => quote!(rt::program::PortKind::Float),
            Leaf::Constant(Scalar::Bool(_)) => quote!(rt::program::PortKind::Bool),
            Leaf::Constant(Scalar::Str(_)) => quote!(rt::program::PortKind::Str),
            Leaf::Constant(Scalar::None) => quote!(rt::program::PortKind::None),
        };
        quote!(rt::program::Port { name: #name, kind: #kind, mutates: ::core::option::Option::None })
    };
    leaves.iter().enumerate().map(port).collect()
}

fn tensor_port(emitter: &Emitter<'_>, tensor: &Tensor) -> TokenStream {
    let dtype = memory::dtype(tensor.dtype);
    let dims = tensor.sizes.iter().map(|size| {
        let range = size.interval(&emitter.graph.ranges);
        // A lower bound up to 2 is nominal: PyTorch accepts sizes 0 and 1 there.
        let min = if size.as_int().is_some() { range.min } else { emitter.options.bounds.enforced(range.min) };
        let bound = |v: Option<i64>| literal(v.and_then(|v| usize::try_from(v).ok()).unwrap_or(0));
        let (min, max) = (bound(min), bound(range.max));
        quote!(rt::program::Dim { min: #min, max: #max })
    });
    quote!(rt::program::PortKind::Tensor { dtype: #dtype, dims: &[#(#dims),*] })
}

/// Statements that check each value and give its parts names.
fn arguments(emitter: &Emitter<'_>) -> TokenStream {
    let (result, call_error) = (quote!(::core::result::Result), quote!(rt::program::CallError));
    let leaves = emitter.interface.inputs.iter().enumerate();
    let argument = |(i, leaf): (usize, &Leaf)| {
        let (value, index) = (format_ident!("in{i}"), literal(i));
        match leaf {
            Leaf::Tensor(tensor) => {
                let (shape, data) = (format_ident!("shape{i}"), format_ident!("data{i}"));
                let sizes = (0..tensor.sizes.len()).map(|d| format_ident!("size{i}_{d}"));
                quote! {
                    let (#shape, #data) = #value.tensor(#index, &INPUT_PORTS[#index])?;
                    let &[#(#sizes),*] = #shape else { return #result::Err(#call_error::InputRank { input: #index }); };
                }
            }
            Leaf::Number(_) => {
                let name = format_ident!("data{i}");
                quote! {
                    let rt::program::Value::Int(#name) = *#value else {
                        return #result::Err(#call_error::InputKind { input: #index });
                    };
                }
            }
            Leaf::Constant(constant) => {
                let pattern = match scalar(constant) {
                    None => quote!(rt::program::Value::None),
                    Some((expected, _)) => {
                        let variant = variant(constant);
                        quote!(rt::program::Value::#variant(v) if v == #expected)
                    }
                };
                quote! {
                    if !::core::matches!(*#value, #pattern) {
                        return #result::Err(#call_error::InputConstant { input: #index });
                    }
                }
            }
        }
    };
    leaves.map(argument).collect()
}

/// Statements that copy every tensor the call changes to where its new value is asked for: that copy is the argument.
fn rooms(emitter: &Emitter<'_>) -> TokenStream {
    let outputs = emitter.graph.outputs.iter().enumerate();
    let room = |(output, input): (usize, usize)| {
        let (out, index) = (format_ident!("out{output}"), literal(output));
        let (shape, data, input) = (format_ident!("shape{input}"), format_ident!("data{input}"), literal(input));
        quote!(let #data = #out.copy_of(#index, (#input, &INPUT_PORTS[#input]), #shape, #data)?;)
    };
    outputs.filter_map(|(i, o)| Some((i, o.mutates?))).map(room).collect()
}

fn variant(constant: &Scalar) -> TokenStream {
    match constant {
        Scalar::None => quote!(None),
        Scalar::Int(_) => quote!(Int),
        Scalar::Float(_) => quote!(Float),
        Scalar::Bool(_) => quote!(Bool),
        Scalar::Str(_) => quote!(Str),
    }
}

fn variant_of(kind: crate::sym::Kind) -> TokenStream {
    match kind {
        crate::sym::Kind::Int => quote!(Int),
        crate::sym::Kind::Float => quote!(Float),
        crate::sym::Kind::Bool => quote!(Bool),
    }
}

/// The field of `Inputs` made from the checked value.
fn argument(leaf: &Leaf, i: usize) -> TokenStream {
    let (data, index) = (format_ident!("data{i}"), literal(i));
    let Leaf::Tensor(tensor) = leaf else { return quote!(#data) };
    let fault = quote!(.ok_or(rt::program::CallError::InputData { input: #index })?);
    let ty = memory::element(tensor.dtype);
    let items = match (tensor.dtype == DType::Bool, tensor.mutable) {
        (true, false) => quote!(rt::bools(#data)#fault),
        (true, true) => quote!(rt::bools_mut(#data)#fault),
        (false, false) => quote!(rt::cast::<#ty>(#data)),
        (false, true) => quote!(rt::cast_mut::<#ty>(#data)),
    };
    let sizes: Vec<Ident> = (0..tensor.sizes.len()).map(|d| format_ident!("size{i}_{d}")).collect();
    match tensor.form {
        Form::Nested if tensor.mutable => quote!(rt::nested_mut(#items)#fault),
        Form::Nested => quote!(rt::nested(#items)#fault),
        Form::Rows => {
            let (len, slice) = (&sizes[0], format_ident!("nested_slice{}", if tensor.mutable { "_mut" } else { "" }));
            quote!(rt::#slice(#items, #len)#fault)
        }
        Form::Shaped if tensor.mutable => quote!(rt::TensorMut::new(#items, [#(#sizes),*])#fault),
        Form::Shaped => quote!(rt::TensorRef::new(#items, [#(#sizes),*])#fault),
    }
}

/// Statements that copy every result to its place; a changed input among them, over the value it had.
fn results(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let mut symbols = BTreeSet::new();
    let (mut names, mut ranges, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for (i, leaf) in emitter.interface.outputs.iter().enumerate() {
        let (out, index) = (format_ident!("out{i}"), literal(i));
        writes.push(match leaf {
            Leaf::Tensor(tensor) => {
                let range = region(emitter, i)?;
                symbols.extend(range.symbols);
                symbols.extend(tensor.sizes.iter().flat_map(Expr::symbols));
                let name = format_ident!("y{i}");
                let sizes = tensor.sizes.iter().map(memory::size);
                let write = quote!(#out.put_tensor(#index, &[#(#sizes),*], #name)?;);
                names.push(name);
                ranges.push(range.tokens);
                write
            }
            Leaf::Number(e) => {
                symbols.extend(e.symbols());
                let (value, kind) = (e.rust(), variant_of(e.kind()));
                quote!(*#out = rt::program::ValueMut::#kind(#value);)
            }
            Leaf::Constant(constant) => {
                let variant = variant(constant);
                match scalar(constant) {
                    None => quote!(*#out = rt::program::ValueMut::None;),
                    Some((value, _)) => quote!(*#out = rt::program::ValueMut::#variant(#value);),
                }
            }
        });
    }
    let locals = symbols.iter().map(|symbol| {
        let name = super::names::field(symbol);
        quote!(let #name = run.frame.#name;)
    });
    let take = if names.is_empty() {
        quote!()
    } else {
        quote!(let ([#(#names),*], []) = run.arena.into_regions([#(#ranges),*], []);)
    };
    Ok(quote!(#(#locals)* #take #(#writes)*))
}
