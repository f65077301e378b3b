//! The module's constants: sizes, names of layers and of demands, frozen arguments and their checked form, grids of
//! quantized inputs and outputs.

use super::interface::{Leaf, output_path};
use super::structs::path;
use super::{Emitter, doc, literal, names, scalar};
use crate::footprint::macs;
use crate::ir::{IoLeaf, Scalar};
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

/// All of them, the type of a fitting workspace, and `check_constants`.
pub(super) fn constants(emitter: &Emitter<'_>) -> TokenStream {
    let mut items = Items { tokens: TokenStream::new(), taken: STATICS.iter().map(ToString::to_string).collect() };
    sizes(emitter, &mut items);
    texts(emitter, &mut items);
    frozen(emitter, &mut items);
    grids(emitter, &mut items);
    let (items, check) = (items.tokens, check_constants(emitter));
    quote! {
        #items
        #check
        /// A workspace of the size this model needs, for a `static`.
        #[allow(dead_code)]
        pub type StaticWorkspace = rt::StaticWorkspace<WORKSPACE_BYTES>;
        /// Memory for the intermediate tensors of a call; models may take turns on one.
        #[allow(dead_code)]
        pub type Workspace<'a> = rt::Workspace<'a>;
    }
}

/// Names of the module's other constants and statics.
const STATICS: [&str; 7] =
    ["FINGERPRINT", "INITIAL_STATE", "INPUT_PORTS", "OUTPUT_PORTS", "SIGNATURE", "WEIGHTS", "WORDS"];

struct Items {
    tokens: TokenStream,
    taken: BTreeSet<String>,
}

impl Items {
    /// Only names of frozen arguments and of grids can be taken: they come last, and get a `_`.
    fn push(&mut self, name: &str, ty: &TokenStream, value: &TokenStream, about: &str) {
        let mut name = name.to_string();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        let (name, about) = (names::ident(&name), doc(about));
        self.tokens.extend(quote!(#about #[allow(dead_code)] pub const #name: #ty = #value;));
    }

    fn list(&mut self, name: &str, texts: &[&str], about: &str) {
        let count = literal(texts.len());
        self.push(name, &quote!([&str; #count]), &quote!([#(#texts),*]), about);
    }
}

fn sizes(emitter: &Emitter<'_>, items: &mut Items) {
    let (layout, footprint) = (emitter.layout, &emitter.footprint);
    for (name, bytes, about) in [
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
        let bytes = literal(bytes);
        items.push(name, &quote!(usize), &quote!(#bytes), about);
    }
    let macs = literal(usize::try_from(macs(emitter.steps, &emitter.graph.ranges)).unwrap_or(usize::MAX));
    let about = "Multiply-accumulates of the largest call; loops of the program count once.";
    items.push("MACS", &quote!(u64), &quote!(#macs), about);
}

fn texts(emitter: &Emitter<'_>, items: &mut Items) {
    let steps: Vec<&str> = emitter.steps.steps.iter().map(|s| s.name.as_str()).collect();
    items.list("LAYERS", &steps, "Names of the layers, in the order in which [`Run::step`] runs them.");
    let modules = super::modules::table(&emitter.steps.steps);
    let count = literal(modules.len());
    items.push(
        "MODULES",
        &quote!([(&str, ::core::ops::Range<usize>); #count]),
        &quote!([#(#modules),*]),
        "Modules of the Python model, outer ones first, and which of [`LAYERS`] are theirs; one that is called twice is here twice, one of a single layer is that layer.",
    );
    let guards: Vec<&str> = emitter.entry.guards.iter().map(|g| g.message.as_str()).collect();
    items.list("GUARDS", &guards, "What the model demands of its inputs together, as `rt::Error::Guard` counts it.");
    let asserts: Vec<&str> = emitter.asserts.iter().map(|(_, m)| m.as_str()).collect();
    items.list("ASSERTS", &asserts, "What the model demands of computed values, as `rt::Error::Assert` counts it.");
}

/// Arguments with the values they had at export.
fn frozen(emitter: &Emitter<'_>, items: &mut Items) {
    for (input, leaf) in emitter.graph.inputs.iter().zip(&emitter.interface.inputs) {
        let Leaf::Constant(constant) = leaf else { continue };
        let Some((value, ty)) = scalar(constant) else { continue };
        let path = path(&input.path);
        // `'static` is understood in a constant.
        let ty = if let Scalar::Str(_) = constant { quote!(&str) } else { ty };
        let about = format!("Argument `{path}`, frozen when the model was exported.");
        items.push(&names::constant(&path), &ty, &value, &about);
    }
}

fn grids(emitter: &Emitter<'_>, items: &mut Items) {
    for grid in &emitter.graph.grids {
        let name = match grid.leaf {
            IoLeaf::Input(i) => path(&emitter.graph.inputs[i].path),
            IoLeaf::Output(i) => path(&output_path(&emitter.graph.outputs[i].path, i, emitter.options)),
        };
        let scale = Literal::f32_unsuffixed(f64::from_bits(grid.scale) as f32);
        let zero_point = Literal::i64_unsuffixed(grid.zero_point);
        let about = format!("An integer `q` of `{name}` stands for `(q - zero point) * scale`.");
        items.push(&format!("{}_SCALE", names::constant(&name)), &quote!(f32), &quote!(#scale), &about);
        items.push(&format!("{}_ZERO_POINT", names::constant(&name)), &quote!(i32), &quote!(#zero_point), &about);
    }
}

/// The checked form of arguments that were frozen at export.
fn check_constants(emitter: &Emitter<'_>) -> TokenStream {
    let mut variables = names::Variables::default();
    let (mut parameters, mut checks) = (Vec::new(), Vec::new());
    for (i, (input, leaf)) in emitter.graph.inputs.iter().zip(&emitter.interface.inputs).enumerate() {
        let Leaf::Constant(constant) = leaf else { continue };
        let Some((value, ty)) = scalar(constant) else { continue };
        let ty = if let Scalar::Str(_) = constant { quote!(&str) } else { ty };
        let (name, position) = (variables.fresh(&path(&input.path)), literal(i));
        parameters.push(quote!(#name: #ty));
        let found = match constant {
            Scalar::Float(_) => quote!(#name.to_bits() as i64),
            Scalar::Str(_) => quote!(0),
            _ => quote!(#name as i64),
        };
        let differs = match constant {
            Scalar::Float(v) if v.is_nan() => quote!(!#name.is_nan()),
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
