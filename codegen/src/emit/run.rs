//! `Run`: a call in progress, layer by layer, and the results it ends with.

use super::interface::{Form, Leaf, Tensor};
use super::layers::Layer;
use super::structs::construct;
use super::{Emitter, doc, literal, memory, modules, scalar};
use crate::diag::Diagnostic;
use crate::lower::{Region, Work};
use crate::options::InputMemory;
use crate::sym::Expr;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use std::collections::BTreeSet;

/// `Run`: a call in progress.
pub(super) fn run(emitter: &Emitter<'_>, printed: &[Layer]) -> Result<TokenStream, Diagnostic> {
    let (structure, steps, results) = (structure(emitter), steps(emitter, printed), results(emitter)?);
    let outputs = emitter.interface.outputs_type("Outputs", &quote!('w));
    let lifetimes = quote!('r, 'w);
    let generics = emitter.operators.generics();
    let (of, bounded) = (generics.arguments(&lifetimes), generics.bounded(&lifetimes));
    let result = quote!(::core::result::Result);
    Ok(quote! {
        #structure

        #[allow(dead_code, clippy::all, clippy::pedantic)]
        impl #bounded Run #of {
            #steps

            fn outputs(self) -> #result<#outputs, rt::Error> { #results }
        }
    })
}

/// The struct.
fn structure(emitter: &Emitter<'_>) -> TokenStream {
    let inputs = emitter.interface.inputs_type(&quote!('r));
    let inputs = match emitter.options.inputs {
        InputMemory::Caller => quote!(inputs: #inputs,),
        InputMemory::Workspace => quote!(),
    };
    let generics = emitter.operators.generics();
    let of = generics.arguments(&quote!('r, 'w));
    let ops = generics.only(quote!(ops: &'r mut O,));
    let about = doc(
        "A call in progress, one layer at a time: for schedulers that must not wait for a whole network, for profiling, for looking at values between layers.",
    );
    quote! {
        #about
        #[derive(::core::fmt::Debug)]
        #[allow(dead_code)]
        pub struct Run #of {
            state: &'r mut rt::State<STATE_BYTES>,
            #ops
            arena: rt::Arena<'w>,
            #inputs
            frame: layers::Frame,
            next: usize,
        }
    }
}

/// The methods that run layers: one at a time, what is left, all, those of a module.
fn steps(emitter: &Emitter<'_>, printed: &[Layer]) -> TokenStream {
    let calls: Vec<&TokenStream> = printed.iter().map(|layer| &layer.call).collect();
    let numbers = (0..printed.len()).map(literal);
    let count = literal(printed.len());
    let (result, ok) = (quote!(::core::result::Result), quote!(::core::result::Result::Ok));
    // Straight through where nothing jumps.
    let jumps = emitter.steps.steps.iter().any(|step| matches!(step.work, Work::Jump { .. } | Work::Branch { .. }));
    let (modules, all) = match jumps {
        true => (TokenStream::new(), quote!(while self.step()? {})),
        false => {
            let modules::Functions { items, calls } = modules::functions(&emitter.steps.steps, &calls);
            (items, quote!(#calls self.next = #count;))
        }
    };
    let about_step =
        doc("Runs the next layer; false when there was none left.\n\n# Errors\nWhat a layer found while running.");
    let about_next = doc("Position in [`LAYERS`] of the layer that [`Run::step`] runs next.");
    let about_finish = doc("Runs what is left and gives the results.\n\n# Errors\nAs [`Run::step`].");
    let outputs = emitter.interface.outputs_type("Outputs", &quote!('w));
    quote! {
        #about_step
        pub fn step(&mut self) -> #result<bool, rt::Error> {
            match self.next {
                #(#numbers => #calls,)*
                _ => return #ok(false),
            }
            self.next = self.next.wrapping_add(1);
            #ok(true)
        }

        #about_next
        #[must_use]
        pub fn next(&self) -> usize { self.next }

        #about_finish
        pub fn finish(mut self) -> #result<#outputs, rt::Error> {
            while self.step()? {}
            self.outputs()
        }

        #[inline]
        fn all(&mut self) -> #result<(), rt::Error> {
            #all
            #ok(())
        }

        #modules
    }
}

/// `let ([y], []) = self.arena.into_regions(..); Ok(Outputs { .. })`.
fn results(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let interface = &emitter.interface;
    let mut symbols = BTreeSet::new();
    let mut ranges: Vec<TokenStream> = Vec::new();
    let mut names: Vec<Ident> = Vec::new();
    let mut values: Vec<TokenStream> = Vec::new();
    let mut changes = TokenStream::new();
    for (i, leaf) in interface.outputs.iter().enumerate() {
        values.push(match leaf {
            Leaf::Number(e) => {
                symbols.extend(e.symbols());
                e.rust()
            }
            Leaf::Constant(c) => scalar(c).map_or(quote!(()), |(value, _)| value),
            Leaf::Tensor(tensor) => {
                let range = region(emitter, i)?;
                symbols.extend(range.symbols);
                let name = format_ident!("y{i}");
                ranges.push(range.tokens);
                names.push(name.clone());
                symbols.extend(tensor.sizes.iter().flat_map(Expr::symbols));
                let value = typed(tensor, &name);
                if let Some(input) = emitter.graph.outputs[i].mutates {
                    changes.extend(change(emitter, input, tensor, &value)?);
                }
                value
            }
        });
    }
    let locals: TokenStream = symbols
        .iter()
        .map(|symbol| {
            let name = super::names::field(symbol);
            quote!(let #name = self.frame.#name;)
        })
        .collect();
    let take = if names.is_empty() {
        quote!()
    } else {
        quote!(let ([#(#names),*], []) = self.arena.into_regions([#(#ranges),*], []);)
    };
    let value = construct(&interface.output_tree, "Outputs", &|i| Some(values[i].clone()));
    Ok(quote!(#locals #take #changes ::core::result::Result::Ok(#value)))
}

/// The statement that gives the caller's tensor its new value.
fn change(
    emitter: &Emitter<'_>,
    input: usize,
    tensor: &Tensor,
    value: &TokenStream,
) -> Result<TokenStream, Diagnostic> {
    let field = emitter.interface.input_fields.get(input).cloned().flatten();
    let field = field.ok_or_else(|| Diagnostic::bug(format!("changed input {input} is no argument")))?;
    Ok(match tensor.form {
        Form::Nested => quote!(*self.inputs #field = *#value;),
        Form::Rows => quote!(rt::copy_into(#value, self.inputs #field)?;),
        Form::Shaped => quote!(rt::copy_into(#value.data(), self.inputs #field.into_data())?;),
    })
}

/// A range of the arena in bytes.
pub(super) struct ByteRange {
    pub(super) tokens: TokenStream,
    pub(super) symbols: BTreeSet<crate::sym::Symbol>,
}

/// Where an output stands.
pub(super) fn region(emitter: &Emitter<'_>, output: usize) -> Result<ByteRange, Diagnostic> {
    let fault = || Diagnostic::bug(format!("output {output} has no place in the arena"));
    let region: &Region = emitter.steps.outputs.get(output).and_then(Option::as_ref).ok_or_else(fault)?;
    let buffer = &emitter.steps.buffers[region.buffer.0 as usize];
    let base = match (emitter.plan.offsets.get(region.buffer.0 as usize).copied().flatten(), buffer.len.as_int()) {
        (Some(base), _) => base,
        // An empty tensor that no step writes.
        (None, Some(0)) => 0,
        _ => return Err(fault()),
    };
    let size = Expr::from(buffer.dtype.size());
    let start = Expr::add(Expr::mul(region.offset.clone(), size.clone()), Expr::from(base));
    let len = Expr::mul(region.len.clone(), size);
    let symbols = start.symbols().into_iter().chain(len.symbols()).collect();
    let (start, len) = (memory::size(&start), memory::size(&len));
    Ok(ByteRange { tokens: quote!((#start, #len)), symbols })
}

/// The bytes `name` as the tensor's type.
fn typed(tensor: &Tensor, name: &Ident) -> TokenStream {
    let ty = memory::element(tensor.dtype);
    tensor.view(quote!(rt::cast::<#ty>(#name)))
}
