//! The items of the module put together, and `Model` with its methods.

use super::custom::Generics;
use super::interface::{Form, Interface, Leaf};
use super::layers::{self, Layer};
use super::run::run;
use super::{Emitter, constants, doc, entry, literal, program, structs};
use crate::diag::{Diagnostic, Errors};
use crate::sym::Expr;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// Everything but weights, extra files and fingerprint.
///
/// # Errors
/// All faults of ours in the steps.
pub(super) fn items(emitter: &Emitter<'_>) -> Result<TokenStream, Errors> {
    let mut errors = Errors::default();
    let mut printed: Vec<Layer> = Vec::new();
    for step in &emitter.steps.steps {
        match layers::layer(emitter, step) {
            Ok(layer) => printed.push(layer),
            Err(fault) => errors.push(fault.at(&step.origin)),
        }
    }
    let mut part =
        |result: Result<TokenStream, Diagnostic>| result.map_err(|fault| errors.push(fault)).unwrap_or_default();
    let entry = part(entry::entry(emitter));
    let run = part(run(emitter, &printed));
    let program = if emitter.options.program { part(program::program(emitter)) } else { TokenStream::new() };
    let (constants, structs, model) = (constants::constants(emitter), structs::structs(emitter), part(model(emitter)));
    let words = super::words::words(emitter);
    let functions = printed.iter().map(|layer| &layer.items);
    let (uses, ops) = (uses(emitter), emitter.operators.module());
    let about = doc("One function per layer, of memory and sizes only.");
    errors.into_result(quote! {
        const _: () = rt::abi_1::MATCH;
        #constants
        #ops
        #words
        #structs
        #model
        #run
        #program
        #about
        #[allow(clippy::all, clippy::pedantic, unused_imports, unused_variables, unused_mut, unused_parens, non_snake_case)]
        mod layers {
            #uses
            #entry
            #(#functions)*
        }
    })
}

fn uses(emitter: &Emitter<'_>) -> TokenStream {
    let weights = if emitter.layout.weight_bytes == 0 { quote!() } else { quote!(, WEIGHTS) };
    quote! {
        use ::core::prelude::rust_2024::*;
        use super::{Inputs, rt #weights};
    }
}

/// The struct of what is remembered, and its methods.
fn model(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let state = initial_state(emitter);
    let generics = emitter.operators.generics();
    let about = doc(&about_model(emitter));
    let (of, bounded) = (generics.arguments(&quote!()), generics.bounded(&quote!()));
    let field = generics.only(quote!(, ops: O));
    let default = generics.only(quote!(::core::default::Default::default()));
    let where_default = generics.only(quote!(where O: ::core::default::Default));
    let (new, calls, start, memory) =
        (new(&state, &generics), calls(emitter), start(emitter)?, memory(emitter, &state));
    let initial = &state.items;
    Ok(quote! {
        #initial
        #about
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code)]
        pub struct Model #of { state: rt::State<STATE_BYTES> #field }

        impl #bounded ::core::default::Default for Model #of #where_default {
            fn default() -> Self { Self::new(#default) }
        }

        #[allow(dead_code, clippy::all, clippy::pedantic)]
        impl #bounded Model #of {
            #new
            #calls
            #start
            #memory
        }
    })
}

fn new(state: &InitialState, generics: &Generics) -> TokenStream {
    let value = &state.value;
    let (argument, moved) = (generics.only(quote!(ops: O)), generics.only(quote!(, ops)));
    let ops = generics.only(quote! {
        /// What implements the custom operators.
        pub fn ops(&mut self) -> &mut O { &mut self.ops }
    });
    quote! {
        /// In the state the archive holds.
        #[must_use]
        pub const fn new(#argument) -> Self { Self { state: #value #moved } }

        #ops
    }
}

/// The calls that run to the end.
fn calls(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    let inputs = interface.inputs_type(&quote!('_));
    let outputs = interface.outputs_type("Outputs", &quote!('w));
    let borrowed = Interface::borrows(&interface.output_tree, &interface.outputs);
    let buffers = if borrowed { quote!(OutputsMut<'_>) } else { quote!(OutputsMut) };
    let result = quote!(::core::result::Result);
    let copies = copies(emitter);
    quote! {
        /// One call. The results lie in the workspace.
        ///
        /// # Errors
        /// A workspace below [`WORKSPACE_BYTES`], inputs the model does not accept, or what the variant says.
        #[inline]
        pub fn forward<'w>(&mut self, workspace: &'w mut rt::Workspace<'_>, inputs: #inputs) -> #result<#outputs, rt::Error> {
            let mut run = self.start(workspace, inputs)?;
            run.all()?;
            run.outputs()
        }

        /// One call that copies its results into the caller's memory.
        ///
        /// # Errors
        /// As [`Model::forward`]; a buffer that is too small.
        #[inline]
        pub fn forward_into(&mut self, workspace: &mut rt::Workspace<'_>, inputs: #inputs, outputs: #buffers) -> #result<(), rt::Error> {
            let results = self.forward(workspace, inputs)?;
            #copies
            ::core::result::Result::Ok(())
        }
    }
}

/// The calls that go on layer by layer, and the one whose inputs stand in the workspace.
fn start(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let interface = &emitter.interface;
    let generics = emitter.operators.generics();
    let lent = generics.only(quote!(ops: &mut self.ops,));
    let (arena, held, with) = match super::entered::entered(emitter)? {
        None => (quote!(let arena = workspace.arena(WORKSPACE_BYTES)?;), quote!(inputs,), quote!()),
        Some(entered) => {
            let copied = entered.copied();
            let arena = quote!(let mut arena = workspace.arena(WORKSPACE_BYTES)?; #copied);
            (arena, quote!(), entered.method(&interface.outputs_type("Outputs", &quote!('w)), &lent))
        }
    };
    let (run, inputs) = (generics.arguments(&quote!('r, 'w)), interface.inputs_type(&quote!('r)));
    let result = quote!(::core::result::Result);
    Ok(quote! {
        #with

        /// Begins a call that [`Run::step`] continues, layer by layer.
        ///
        /// # Errors
        /// As [`Model::forward`].
        #[inline]
        pub fn start<'r, 'w>(&'r mut self, workspace: &'w mut rt::Workspace<'_>, inputs: #inputs) -> #result<Run #run, rt::Error> {
            self.start_at(rt::Level::detect(), workspace, inputs)
        }

        /// [`Model::start`] with at most this level of instructions.
        ///
        /// # Errors
        /// As [`Model::forward`].
        #[inline]
        pub fn start_at<'r, 'w>(&'r mut self, level: rt::Level, workspace: &'w mut rt::Workspace<'_>, inputs: #inputs) -> #result<Run #run, rt::Error> {
            let level = ::core::cmp::Ord::min(level, rt::Level::detect());
            let frame = layers::check_inputs(level, &inputs)?;
            #arena
            ::core::result::Result::Ok(Run { state: &mut self.state, #lent arena, #held frame, next: 0 })
        }
    })
}

/// What is remembered between calls: set back, given away, taken over.
fn memory(emitter: &Emitter<'_>, state: &InitialState) -> TokenStream {
    let reset = if emitter.layout.state_bytes == 0 {
        quote!()
    } else if state.is_zero {
        quote!(self.state.clear();)
    } else {
        quote!(let _ = self.state.restore(INITIAL_STATE.bytes());)
    };
    let result = quote!(::core::result::Result);
    quote! {
        /// Back to the state the archive holds.
        #[inline]
        pub fn reset(&mut self) { #reset }

        /// What the model remembers, to be saved and restored.
        #[must_use]
        pub fn state(&self) -> &[u8] { self.state.bytes() }

        /// Takes over what [`Model::state`] gave.
        ///
        /// # Errors
        /// Bytes of another length; nothing is changed then.
        pub fn restore(&mut self, state: &[u8]) -> #result<(), rt::Error> { self.state.restore(state) }

        /// What the model remembers, marked with [`FINGERPRINT`].
        #[must_use]
        pub fn snapshot(&self) -> rt::Snapshot<'_> { self.state.snapshot(&FINGERPRINT) }

        /// Takes over what [`Model::snapshot`] gave.
        ///
        /// # Errors
        /// A snapshot of another model, or of this one compiled otherwise; nothing is changed then.
        pub fn resume(&mut self, snapshot: &rt::Snapshot<'_>) -> #result<(), rt::Error> {
            self.state.resume(&FINGERPRINT, snapshot)
        }

        /// Writes what the model remembers, marked with [`FINGERPRINT`], to the first [`SAVED_BYTES`] of `to`; gives their number.
        ///
        /// # Errors
        /// A slice that is shorter.
        pub fn save(&self, to: &mut [u8]) -> #result<usize, rt::Error> { self.snapshot().write(to) }

        /// Takes over what [`Model::save`] wrote.
        ///
        /// # Errors
        /// Bytes of another model, or of this one compiled otherwise; nothing is changed then.
        pub fn load(&mut self, from: &[u8]) -> #result<(), rt::Error> { self.resume(&rt::Snapshot::read(from)?) }
    }
}

fn about_model(emitter: &Emitter<'_>) -> String {
    let macs = emitter.steps.steps.iter().fold(Expr::Int(0), |sum, step| Expr::add(sum, step.macs.clone()));
    format!(
        "Model `{}`, exported by torch {}: {} layers, {macs} multiply-accumulates. It holds what is remembered between calls, nothing else.",
        emitter.options.name,
        emitter.torch_version,
        emitter.steps.steps.len(),
    )
}

struct InitialState {
    items: TokenStream,
    value: TokenStream,
    is_zero: bool,
}

fn initial_state(emitter: &Emitter<'_>) -> InitialState {
    let bytes = &emitter.layout.initial_state;
    let size = literal(emitter.layout.state_bytes);
    if bytes.is_empty() {
        return InitialState { items: quote!(), value: quote!(rt::State::new([0; #size])), is_zero: true };
    }
    let (bytes, about) = (Literal::byte_string(bytes), doc("The state the archive holds."));
    InitialState {
        items: quote!(#about static INITIAL_STATE: rt::Weights<#size> = rt::Weights::new(*#bytes);),
        value: quote!(rt::State::new(*INITIAL_STATE.bytes())),
        is_zero: false,
    }
}

/// `*outputs.x = *results.x;` for every tensor.
fn copies(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    let mut statements = TokenStream::new();
    for (leaf, field) in interface.outputs.iter().zip(&interface.output_fields) {
        let (Leaf::Tensor(tensor), Some(field)) = (leaf, field) else { continue };
        statements.extend(match tensor.form {
            Form::Nested => quote!(*outputs #field = *results #field;),
            Form::Rows => quote!(rt::copy_into(results #field, outputs #field)?;),
            Form::Shaped => quote!(rt::copy_into(results #field.data(), outputs #field)?;),
        });
    }
    if statements.is_empty() { quote!(let _ = (results, outputs);) } else { statements }
}
