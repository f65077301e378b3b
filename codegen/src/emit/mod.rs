//! From a planned model to Rust: the last stage.
//!
//! Takes a [`Model`], in which every decision is taken; gives an [`Output`]: the items of one module as
//! text, and the bytes of the weights. What stands in the module: constants, `Inputs`, `Outputs`, `OutputsMut`, `Model`,
//! `Run`, and the private module `layers` with one function per step. No `unsafe`, no index that can fail, no path that
//! is not absolute (a user's module may have no prelude and call the runtime by another name).
//!
//! The decision a reader would question: items are text, not tokens. The compiler of models must run on a thread with a
//! large stack, which a proc macro's tokens cannot leave.

mod arrays;
mod constants;
mod custom;
mod entered;
mod entry;
mod float;
mod formula;
mod interface;
mod kernel;
mod layers;
mod loops;
mod memory;
mod model;
mod modules;
mod names;
mod program;
mod run;
mod structs;
mod words;

use crate::diag::{Diagnostic, Errors};
use crate::footprint::Footprint;
use crate::ir::Scalar;
use crate::options::{Options, WeightsForm};
use crate::{Model, lower, plan};
use interface::Interface;
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use sha2::{Digest, Sha256};
use std::str::FromStr;

/// Generated code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The items of the module, on one line. They expect the runtime under the name `rt`, and, unless `weights` is
    /// empty, a static as [`Output::weights_declaration`] says.
    pub items: String,
    /// Bytes of the weights.
    pub weights: Vec<u8>,
    /// Names of the custom operators (`fixtures::scaled_relu`) for which the module `ops` has a trait.
    pub operators: Vec<String>,
    /// Link section of the weights.
    section: Option<String>,
    /// Path of the runtime in the file form.
    runtime: String,
    /// What the file form says about where it came from.
    head: String,
}

/// Prints a model.
///
/// # Errors
/// Names that collide, extra files that do not exist, options that name what is not there: all of them.
pub fn emit(model: &Model, options: &Options) -> Result<Output, Errors> {
    let emitter = Emitter {
        graph: &model.graph,
        entry: &model.entry,
        steps: &model.steps,
        plan: &model.plan,
        options,
        interface: Interface::new(&model.graph, options)?,
        operators: custom::Operators::new(&model.steps.steps)?,
        layout: &model.layout,
        footprint: Footprint::new(model),
        asserts: layers::asserts(&model.steps.steps),
        torch_version: &model.torch_version,
    };
    let mut errors = Errors::default();
    let extra = extra_files(model, options, &mut errors);
    let items = model::items(&emitter).map(|items| quote!(#items #extra));
    let Some(items) = items.map_err(|faults| errors.extend(faults)).ok().filter(|_| errors.0.is_empty()) else {
        return Err(errors);
    };
    let mut items = items.to_string();
    let operators = emitter.operators.names();
    let weights = emitter.layout.weights(&model.steps);
    items += &fingerprint(&items, &weights);
    Ok(Output {
        items,
        weights,
        operators,
        section: options.weights_section.clone(),
        runtime: options.runtime_path.clone(),
        head: head(model, options),
    })
}

impl Output {
    /// `static WEIGHTS: rt::Weights<N>`, with its link section if one was asked for.
    pub fn weights_declaration(&self) -> String {
        let section = self.section.as_ref().map(|s| format!("#[unsafe(link_section = {s:?})] ")).unwrap_or_default();
        format!("{section}static WEIGHTS: rt::Weights<{}>", self.weights.len())
    }

    /// The module as a file that a person can read. `weights` says where the bytes come from.
    ///
    /// # Errors
    /// Generated text that is no Rust: our fault.
    pub fn file(&self, weights: &WeightsForm) -> Result<String, Errors> {
        let bytes = match weights {
            WeightsForm::Include(text) => format!("*::core::include_bytes!({text})"),
            WeightsForm::Literal => format!("*{}", Literal::byte_string(&self.weights)),
        };
        let mut text = format!("use {} as rt; {}", self.runtime, self.items);
        if !self.weights.is_empty() {
            let declaration = self.weights_declaration();
            text += &format!(
                "/** The model's constants, as the kernels read them. */ {declaration} = rt::Weights::new({bytes});"
            );
        }
        let parsed = syn::parse_file(&text)
            .map_err(|e| Errors::from(Diagnostic::bug(format!("generated code does not parse: {e}"))))?;
        Ok(format!("{}\n{}", self.head, spaced(&prettyplease::unparse(&parsed))))
    }
}

/// The text with an empty line between items, which the printer leaves out.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + text.len() / 16);
    // Indentation of the last line if an item may have ended there.
    let mut ended: Option<usize> = None;
    for line in text.lines() {
        let body = line.trim_start();
        let depth = line.len() - body.len();
        let item = ["///", "#[", "pub ", "impl", "fn ", "mod ", "struct ", "static ", "const "];
        if ended == Some(depth) && depth <= 4 && item.iter().any(|start| body.starts_with(start)) {
            spaced.push('\n');
        }
        ended = (body == "}" || body.ends_with(';')).then_some(depth);
        spaced += line;
        spaced.push('\n');
    }
    spaced
}

/// What the parts of this stage share.
struct Emitter<'a> {
    graph: &'a crate::ir::Graph,
    entry: &'a crate::check::Entry,
    steps: &'a lower::Steps,
    plan: &'a plan::Plan,
    options: &'a Options,
    interface: Interface,
    operators: custom::Operators,
    layout: &'a plan::Layout,
    footprint: Footprint,
    /// Assertions found while running.
    asserts: Vec<(crate::sym::Expr, String)>,
    torch_version: &'a str,
}

fn head(model: &Model, options: &Options) -> String {
    format!(
        "// @generated by exported {} from model `{}`, written by torch {}, for {}, optimized for {}.\n\
         // Do not edit. The license of exported does not extend to this file: it is yours.\n",
        env!("CARGO_PKG_VERSION"),
        options.name,
        model.torch_version,
        options.target.triple,
        match options.optimize {
            crate::options::Optimize::Speed => "speed",
            crate::options::Optimize::Size => "size",
        }
    )
}

/// Identifies graph, weights and options, whatever the archive's zip looks like.
fn fingerprint(items: &str, weights: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(items.as_bytes());
    hash.update(weights);
    let bytes: [u8; 32] = hash.finalize().into();
    let list: Vec<String> = bytes.iter().map(|b| format!("0x{b:02x}")).collect();
    let about = doc("Identifies this model: SHA-256 over its code and weights.");
    format!("{about} #[allow(dead_code)] pub const FINGERPRINT: [u8; 32] = [{}];", list.join(", "))
}

fn extra_files(model: &Model, options: &Options, errors: &mut Errors) -> TokenStream {
    let mut items = TokenStream::new();
    let mut scope = names::Scope::default();
    for name in &options.extra_files {
        let Some((_, data)) = model.extra_files.iter().find(|(n, _)| n == name) else {
            let known: Vec<String> = model.extra_files.iter().map(|(n, _)| format!("`{n}`")).collect();
            let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
            let message = format!("the archive has no extra file `{name}`; {known}");
            errors.push(Diagnostic::new(crate::diag::Kind::Usage, message));
            continue;
        };
        let ident = names::ident(&format!("EXTRA_{}", names::constant(name)));
        scope.claim(&ident.to_string(), name, "extra files", errors);
        let (bytes, about) = (Literal::byte_string(data), doc(&format!("Extra file `{name}` of the archive.")));
        items.extend(quote!(#about #[allow(dead_code)] pub const #ident: &[u8] = #bytes;));
    }
    items
}

/// A doc comment. A multi-line text becomes one line each.
fn doc(text: &str) -> TokenStream {
    text.lines()
        .map(|line| {
            let line = format!(" {line}");
            quote!(#[doc = #line])
        })
        .collect()
}

/// An integer literal with separators where a person would want them.
fn literal(value: usize) -> Literal {
    let digits = value.to_string();
    if digits.len() < 5 {
        return Literal::usize_unsuffixed(value);
    }
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('_');
        }
        text.push(c);
    }
    Literal::from_str(&text).unwrap_or_else(|_| Literal::usize_unsuffixed(value))
}

/// Value and type of a constant; `None` for Python's `None`.
fn scalar(value: &Scalar) -> Option<(TokenStream, TokenStream)> {
    Some(match value {
        Scalar::None => return None,
        Scalar::Int(v) => (kernel::integer(*v), quote!(i64)),
        Scalar::Float(v) => (float::f64(*v), quote!(f64)),
        Scalar::Bool(v) => (quote!(#v), quote!(bool)),
        Scalar::Str(v) => (quote!(#v), quote!(&'static str)),
    })
}
