//! The items of the module: constants, the interface's structs, `Model`, `Run`, and `layers`.

use super::interface::{Form, Interface, Leaf, Structs, Tensor, output_path};
use super::layers::{self, Layer};
use super::run::run;
use super::{Emitter, doc, entry, literal, names, program, scalar};
use crate::diag::{Diagnostic, Errors};
use crate::footprint::macs;
use crate::ir::{IoLeaf, PathPart};
use crate::sym::Expr;
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

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
    let (constants, structs, model) = (constants(emitter), structs(emitter), part(model(emitter)));
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

/// Names of the module's other constants and statics.
const STATICS: [&str; 7] =
    ["FINGERPRINT", "INITIAL_STATE", "INPUT_PORTS", "OUTPUT_PORTS", "SIGNATURE", "WEIGHTS", "WORDS"];

fn constants(emitter: &Emitter<'_>) -> TokenStream {
    let mut items = TokenStream::new();
    let mut taken: BTreeSet<String> = STATICS.iter().map(ToString::to_string).collect();
    // Only names of frozen arguments can be taken.
    let mut push = |name: &str, ty: TokenStream, value: TokenStream, about: &str| {
        let mut name = name.to_string();
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        let (name, about) = (names::ident(&name), doc(about));
        items.extend(quote!(#about #[allow(dead_code)] pub const #name: #ty = #value;));
    };
    let bytes = |n: usize| {
        let n = literal(n);
        quote!(#n)
    };
    let layout = emitter.layout;
    let footprint = &emitter.footprint;
    for (name, value, about) in [
        ("WORKSPACE_BYTES", emitter.plan.bytes, "Bytes of workspace that a call needs, outputs included."),
        ("STATE_BYTES", layout.state_bytes, "Bytes that the model remembers between calls."),
        ("SAVED_BYTES", layout.state_bytes + 32, "Bytes that [`Model::save`] writes."),
        ("WEIGHT_BYTES", layout.weight_bytes, "Bytes of the model's constants, padding between them included."),
        (
            "INITIAL_STATE_BYTES",
            layout.initial_state.len(),
            "Bytes of the stored initial state; 0 if all of it is zero.",
        ),
        (
            "INPUT_BYTES",
            footprint.inputs as usize,
            "Bytes of the largest inputs that stand with the caller, not in the workspace.",
        ),
        ("OUTPUT_BYTES", footprint.outputs as usize, "Bytes of the largest outputs, part of the workspace."),
    ] {
        push(name, quote!(usize), bytes(value), about);
    }
    let macs = literal(usize::try_from(macs(emitter.steps, &emitter.graph.ranges)).unwrap_or(usize::MAX));
    push(
        "MACS",
        quote!(u64),
        quote!(#macs),
        "Multiply-accumulates of the largest call; loops of the program count once.",
    );
    let steps: Vec<&str> = emitter.steps.steps.iter().map(|s| s.name.as_str()).collect();
    let count = literal(steps.len());
    push(
        "LAYERS",
        quote!([&str; #count]),
        quote!([#(#steps),*]),
        "Names of the layers, in the order in which [`Run::step`] runs them.",
    );
    let guards: Vec<&str> = emitter.entry.guards.iter().map(|g| g.message.as_str()).collect();
    let count = literal(guards.len());
    push(
        "GUARDS",
        quote!([&str; #count]),
        quote!([#(#guards),*]),
        "What the model demands of its inputs together, as `rt::Error::Guard` counts it.",
    );
    let asserts: Vec<&str> = emitter.asserts.iter().map(|(_, m)| m.as_str()).collect();
    let count = literal(asserts.len());
    push(
        "ASSERTS",
        quote!([&str; #count]),
        quote!([#(#asserts),*]),
        "What the model demands of computed values, as `rt::Error::Assert` counts it.",
    );
    for (input, leaf) in emitter.graph.inputs.iter().zip(&emitter.interface.inputs) {
        if let Leaf::Constant(constant) = leaf
            && let Some((value, ty)) = scalar(constant)
        {
            let path = path(&input.path);
            // `'static` is understood in a constant.
            let ty = if let crate::ir::Scalar::Str(_) = constant { quote!(&str) } else { ty };
            let about = format!("Argument `{path}`, frozen when the model was exported.");
            push(&names::constant(&path), ty, value, &about);
        }
    }
    for grid in &emitter.graph.grids {
        let name = match grid.leaf {
            IoLeaf::Input(i) => path(&emitter.graph.inputs[i].path),
            IoLeaf::Output(i) => path(&output_path(&emitter.graph.outputs[i].path, i, emitter.options)),
        };
        let scale = Literal::f32_unsuffixed(f64::from_bits(grid.scale) as f32);
        let zero_point = Literal::i64_unsuffixed(grid.zero_point);
        let about = format!("An integer `q` of `{name}` stands for `(q - zero point) * scale`.");
        push(&format!("{}_SCALE", names::constant(&name)), quote!(f32), quote!(#scale), &about);
        push(&format!("{}_ZERO_POINT", names::constant(&name)), quote!(i32), quote!(#zero_point), &about);
    }
    items.extend(check_constants(emitter));
    let about = doc("A workspace of the size this model needs, for a `static`.");
    let any = doc("Memory for the intermediate tensors of a call; models may take turns on one.");
    quote! {
        #items
        #about
        #[allow(dead_code)]
        pub type StaticWorkspace = rt::StaticWorkspace<WORKSPACE_BYTES>;
        #any
        #[allow(dead_code)]
        pub type Workspace<'a> = rt::Workspace<'a>;
    }
}

/// The checked form of arguments that were frozen at export.
fn check_constants(emitter: &Emitter<'_>) -> TokenStream {
    let mut variables = names::Variables::default();
    let (mut parameters, mut checks) = (Vec::new(), Vec::new());
    for (i, (input, leaf)) in emitter.graph.inputs.iter().zip(&emitter.interface.inputs).enumerate() {
        let Leaf::Constant(constant) = leaf else { continue };
        let Some((value, ty)) = scalar(constant) else { continue };
        let ty = if let crate::ir::Scalar::Str(_) = constant { quote!(&str) } else { ty };
        let (name, position) = (variables.fresh(&path(&input.path)), literal(i));
        parameters.push(quote!(#name: #ty));
        let found = match constant {
            crate::ir::Scalar::Float(_) => quote!(#name.to_bits() as i64),
            crate::ir::Scalar::Str(_) => quote!(0),
            _ => quote!(#name as i64),
        };
        let differs = match constant {
            crate::ir::Scalar::Float(v) if v.is_nan() => quote!(!#name.is_nan()),
            _ => quote!(#name != #value),
        };
        checks.push(quote! {
            if #differs {
                return ::core::result::Result::Err(rt::Error::Constant { input: #position, found: #found });
            }
        });
    }
    if parameters.is_empty() {
        return quote!();
    }
    let about = doc(
        "Compares arguments with the values that were frozen when the model was exported: it computes with no others.\n\n# Errors\n[`rt::Error::Constant`] names the first one that differs.",
    );
    quote! {
        #about
        #[allow(dead_code, clippy::all, clippy::pedantic)]
        pub fn check_constants(#(#parameters),*) -> ::core::result::Result<(), rt::Error> {
            #(#checks)*
            ::core::result::Result::Ok(())
        }
    }
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

fn structs(emitter: &Emitter<'_>) -> TokenStream {
    let interface = &emitter.interface;
    let input = |i: usize| {
        let name = path(&emitter.graph.inputs[i].path);
        Some(match &interface.inputs[i] {
            Leaf::Tensor(t) if t.mutable => {
                (t.reference(), about_tensor(emitter, &name, t) + " A call that succeeds changes it.")
            }
            Leaf::Tensor(t) => (t.reference(), about_tensor(emitter, &name, t)),
            _ => (quote!(i64), format!("`{name}`: an integer.")),
        })
    };
    let output_name = |i: usize| match &emitter.graph.outputs[i].path[..] {
        [] => "output".to_string(),
        parts => path(parts),
    };
    let output = |i: usize| {
        let name = output_name(i);
        Some(match &interface.outputs[i] {
            Leaf::Tensor(t) => (t.reference(), about_tensor(emitter, &name, t)),
            Leaf::Int(e) => (quote!(i64), format!("`{name}` = `{e}`.")),
            Leaf::Constant(value) => {
                let ty = scalar(value).map_or(quote!(()), |(_, ty)| ty);
                (ty, format!("`{name}`: always the same."))
            }
        })
    };
    let buffer = |i: usize| match &interface.outputs[i] {
        Leaf::Tensor(t) => Some((t.buffer(), about_tensor(emitter, &output_name(i), t))),
        _ => None,
    };
    let derives = quote!(#[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]);
    let inputs = Structs {
        root: "Inputs",
        about: "Arguments of a call.".into(),
        leaves: &interface.inputs,
        field: &input,
        derives: if interface.changes_inputs() { quote!(#[derive(::core::fmt::Debug)]) } else { derives.clone() },
    };
    let outputs = Structs {
        root: "Outputs",
        about: "Results of a call, borrowed from the workspace.".into(),
        leaves: &interface.outputs,
        field: &output,
        derives,
    };
    let buffers = Structs {
        root: "OutputsMut",
        about: "Where [`Model::forward_into`] writes the results. A slice may be longer than the result; its first elements are written then.".into(),
        leaves: &interface.outputs,
        field: &buffer,
        derives: quote!(#[derive(::core::fmt::Debug)]),
    };
    let (inputs, outputs) = (inputs.print(&interface.input_tree), outputs.print(&interface.output_tree));
    let (buffers, flat) = (buffers.print(&interface.output_tree), flat(emitter));
    let arrays = super::arrays::arrays(emitter);
    quote!(#inputs #flat #arrays #outputs #buffers)
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
        let position = literal(i);
        let shaped = |call: TokenStream| {
            quote!({
                let found = #name.len();
                #call.ok_or(rt::Error::Length { input: #position, found })?
            })
        };
        let (ty, value) = match leaf {
            Leaf::Tensor(t) => {
                let item = t.item();
                match t.form {
                    Form::Nested if t.mutable => (quote!(&'a mut [#item]), shaped(quote!(rt::nested_mut(#name)))),
                    Form::Rows if t.mutable => (quote!(&'a mut [#item]), shaped(quote!(rt::rows_mut(#name)))),
                    Form::Nested => (quote!(&'a [#item]), shaped(quote!(rt::nested(#name)))),
                    Form::Rows => (quote!(&'a [#item]), shaped(quote!(rt::rows(#name)))),
                    Form::Shaped => (t.reference(), quote!(#name)),
                }
            }
            Leaf::Int(_) => (quote!(i64), quote!(#name)),
            Leaf::Constant(_) => {
                values.push(quote!());
                continue;
            }
        };
        parameters.push(quote!(#name: #ty));
        values.push(value);
    }
    let value = construct(&interface.input_tree, "Inputs", &|i| Some(values[i].clone()));
    let about = doc(
        "The same from flat slices, elements in row-major order.\n\n# Errors\nA slice whose length is not that of its argument.",
    );
    let (result, ok) = (quote!(::core::result::Result), quote!(::core::result::Result::Ok));
    quote! {
        #[allow(dead_code, non_snake_case, clippy::all, clippy::pedantic)]
        impl<'a> Inputs<'a> {
            #about
            #[inline]
            pub fn flat(#(#parameters),*) -> #result<Self, rt::Error> { #ok(#value) }
        }
    }
}

/// A struct literal of a tree.
pub(super) fn construct(
    tree: &super::interface::Tree,
    name: &str,
    value: &dyn Fn(usize) -> Option<TokenStream>,
) -> TokenStream {
    use super::interface::Tree;
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

fn model(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let state = initial_state(emitter);
    let reset = if emitter.layout.state_bytes == 0 {
        quote!()
    } else if state.is_zero {
        quote!(self.state.clear();)
    } else {
        quote!(let _ = self.state.restore(INITIAL_STATE.bytes());)
    };
    let (initial, value) = (&state.items, &state.value);
    let about = doc(&about_model(emitter));
    let interface = &emitter.interface;
    let inputs = interface.inputs_type(&quote!('_));
    let run_inputs = interface.inputs_type(&quote!('r));
    let outputs = interface.outputs_type("Outputs", &quote!('w));
    let borrowed = Interface::borrows(&interface.output_tree, &interface.outputs);
    let buffers = if borrowed { quote!(OutputsMut<'_>) } else { quote!(OutputsMut) };
    let result = quote!(::core::result::Result);
    let copies = copies(emitter);
    let generics = emitter.operators.generics();
    let lent = generics.only(quote!(ops: &mut self.ops,));
    let (arena, held, with) = match super::entered::entered(emitter)? {
        None => (quote!(let arena = workspace.arena(WORKSPACE_BYTES)?;), quote!(inputs,), quote!()),
        Some(entered) => {
            let copied = entered.copied();
            let arena = quote!(let mut arena = workspace.arena(WORKSPACE_BYTES)?; #copied);
            (arena, quote!(), entered.method(&outputs, &lent))
        }
    };
    let documents = Documents::new();
    let (of, bounded, run) =
        (generics.arguments(&quote!()), generics.bounded(&quote!()), generics.arguments(&quote!('r, 'w)));
    let (field, argument) = (generics.only(quote!(, ops: O)), generics.only(quote!(ops: O)));
    let moved = generics.only(quote!(, ops));
    let default = generics.only(quote!(::core::default::Default::default()));
    let where_default = generics.only(quote!(where O: ::core::default::Default));
    let about_ops = doc("What implements the custom operators.");
    let ops = generics.only(quote! {
        #about_ops
        pub fn ops(&mut self) -> &mut O { &mut self.ops }
    });
    let Documents {
        new,
        forward,
        forward_into,
        start,
        start_at,
        reset: about_reset,
        state: about_state,
        restore,
        snapshot,
        resume,
        save,
        load,
    } = &documents;
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
            #[must_use]
            pub const fn new(#argument) -> Self { Self { state: #value #moved } }

            #ops

            #forward
            #[inline]
            pub fn forward<'w>(&mut self, workspace: &'w mut rt::Workspace<'_>, inputs: #inputs) -> #result<#outputs, rt::Error> {
                let mut run = self.start(workspace, inputs)?;
                run.all()?;
                run.outputs()
            }

            #forward_into
            #[inline]
            pub fn forward_into(&mut self, workspace: &mut rt::Workspace<'_>, inputs: #inputs, outputs: #buffers) -> #result<(), rt::Error> {
                let results = self.forward(workspace, inputs)?;
                #copies
                ::core::result::Result::Ok(())
            }

            #with

            #start
            #[inline]
            pub fn start<'r, 'w>(&'r mut self, workspace: &'w mut rt::Workspace<'_>, inputs: #run_inputs) -> #result<Run #run, rt::Error> {
                self.start_at(rt::Level::detect(), workspace, inputs)
            }

            #start_at
            #[inline]
            pub fn start_at<'r, 'w>(&'r mut self, level: rt::Level, workspace: &'w mut rt::Workspace<'_>, inputs: #run_inputs) -> #result<Run #run, rt::Error> {
                let level = ::core::cmp::Ord::min(level, rt::Level::detect());
                let frame = layers::check_inputs(level, &inputs)?;
                #arena
                ::core::result::Result::Ok(Run { state: &mut self.state, #lent arena, #held frame, next: 0 })
            }

            #about_reset
            #[inline]
            pub fn reset(&mut self) { #reset }

            #about_state
            #[must_use]
            pub fn state(&self) -> &[u8] { self.state.bytes() }

            #restore
            pub fn restore(&mut self, state: &[u8]) -> #result<(), rt::Error> { self.state.restore(state) }

            #snapshot
            #[must_use]
            pub fn snapshot(&self) -> rt::Snapshot<'_> { self.state.snapshot(&FINGERPRINT) }

            #resume
            pub fn resume(&mut self, snapshot: &rt::Snapshot<'_>) -> #result<(), rt::Error> {
                self.state.resume(&FINGERPRINT, snapshot)
            }

            #save
            pub fn save(&self, to: &mut [u8]) -> #result<usize, rt::Error> { self.snapshot().write(to) }

            #load
            pub fn load(&mut self, from: &[u8]) -> #result<(), rt::Error> { self.resume(&rt::Snapshot::read(from)?) }
        }
    })
}

struct Documents {
    new: TokenStream,
    forward: TokenStream,
    forward_into: TokenStream,
    start: TokenStream,
    start_at: TokenStream,
    reset: TokenStream,
    state: TokenStream,
    restore: TokenStream,
    snapshot: TokenStream,
    resume: TokenStream,
    save: TokenStream,
    load: TokenStream,
}

impl Documents {
    fn new() -> Self {
        Documents {
            new: doc("In the state the archive holds."),
            forward: doc(
                "One call. The results lie in the workspace.\n\n# Errors\nA workspace below [`WORKSPACE_BYTES`], inputs the model does not accept, or what the variant says.",
            ),
            forward_into: doc(
                "One call that copies its results into the caller's memory.\n\n# Errors\nAs [`Model::forward`]; a buffer that is too small.",
            ),
            start: doc(
                "Begins a call that [`Run::step`] continues, layer by layer.\n\n# Errors\nAs [`Model::forward`].",
            ),
            start_at: doc(
                "[`Model::start`] with at most this level of instructions.\n\n# Errors\nAs [`Model::forward`].",
            ),
            reset: doc("Back to the state the archive holds."),
            state: doc("What the model remembers, to be saved and restored."),
            snapshot: doc("What the model remembers, marked with [`FINGERPRINT`]."),
            resume: doc(
                "Takes over what [`Model::snapshot`] gave.\n\n# Errors\nA snapshot of another model, or of this one compiled otherwise; nothing is changed then.",
            ),
            save: doc(
                "Writes what the model remembers, marked with [`FINGERPRINT`], to the first [`SAVED_BYTES`] of `to`; gives their number.\n\n# Errors\nA slice that is shorter.",
            ),
            load: doc(
                "Takes over what [`Model::save`] wrote.\n\n# Errors\nBytes of another model, or of this one compiled otherwise; nothing is changed then.",
            ),
            restore: doc(
                "Takes over what [`Model::state`] gave.\n\n# Errors\nBytes of another length; nothing is changed then.",
            ),
        }
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
