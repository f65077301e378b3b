//! The checks before any kernel runs: symbols follow from the sizes of the inputs, ranges and conditions hold.

use super::interface::{Form, Leaf};
use super::{Emitter, doc, literal, names};
use crate::check::{EntryStep, Source};
use crate::diag::Diagnostic;
use crate::options::InputMemory;
use crate::sym::{Expr, Kind, Symbol};
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// The struct `Frame` and the function `check_inputs` that makes one.
///
/// # Errors
/// An entry protocol that contradicts the interface: our fault.
pub(super) fn entry(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let Checks { statements, symbols, uses_inputs } = checks(emitter)?;
    let names: Vec<Ident> = symbols.iter().map(|s| names::field(s)).collect();
    let read = super::layers::bound(&emitter.steps.steps);
    let bound: Vec<Ident> = read.iter().map(|s| names::field(s)).collect();
    let types: Vec<TokenStream> = read.iter().map(super::layers::number_type).collect();
    let unread =
        read.iter().map(|s| if Expr::Symbol(s.clone()).kind() == Kind::Float { quote!(0.0) } else { quote!(0) });
    let unread: Vec<TokenStream> = unread.collect();
    let new = match emitter.options.inputs {
        InputMemory::Caller => quote!(),
        InputMemory::Workspace => quote! {
            impl Frame {
                pub(super) fn new(level: rt::Level) -> Frame { Frame { level, #(#bound: #unread),* } }
            }
        },
    };
    let inputs = if uses_inputs { quote!(inputs) } else { quote!(_inputs) };
    let ty = emitter.interface.inputs_type(&quote!('_));
    let about = doc("What a step must know beside memory: the level of instructions, and sizes of this call.");
    let checks = doc("Derives the sizes of this call and checks everything the model demands of them.");
    Ok(quote! {
        #about
        #[derive(Clone, Copy, Debug)]
        #[allow(dead_code)]
        pub(super) struct Frame { pub(super) level: rt::Level, #(pub(super) #names: i64,)* #(pub(super) #bound: #types),* }

        #new

        #checks
        pub(super) fn check_inputs(level: rt::Level, #inputs: &#ty) -> Result<Frame, rt::Error> {
            #(#statements)*
            Ok(Frame { level, #(#names,)* #(#bound: #unread),* })
        }
    })
}

/// What `check_inputs` consists of.
struct Checks {
    statements: Vec<TokenStream>,
    /// What the statements give a value.
    symbols: Vec<Symbol>,
    /// Whether any of them looks at the inputs.
    uses_inputs: bool,
}

/// The entry protocol in the order in which it is decided.
fn checks(emitter: &Emitter<'_>) -> Result<Checks, Diagnostic> {
    let mut checks = Checks { statements: Vec::new(), symbols: Vec::new(), uses_inputs: false };
    for step in &emitter.entry.steps {
        let Some(number) = number(emitter, step.source())? else { continue };
        if let EntryStep::Bind { symbol, .. } = step {
            checks.symbols.push(symbol.clone());
        }
        checks.uses_inputs = true;
        checks.statements.push(statement(step, &number));
    }
    for (symbol, value) in &emitter.entry.derived {
        checks.symbols.push(symbol.clone());
        let (symbol, value) = (names::field(symbol), value.rust());
        checks.statements.push(quote!(let #symbol = #value;));
    }
    for (index, guard) in emitter.entry.guards.iter().enumerate() {
        let (condition, index) = (guard.condition.rust(), literal(index));
        checks.statements.push(quote!(if !(#condition) { return Err(rt::Error::Guard { index: #index }); }));
    }
    for step in &emitter.entry.closing {
        let Some(number) = number(emitter, step.source())? else { continue };
        checks.uses_inputs = true;
        checks.statements.push(statement(step, &number));
    }
    Ok(checks)
}

/// A number the caller determines, and what to do when it does not fit.
pub(super) struct Number {
    /// It, as `i64`.
    pub(super) number: TokenStream,
    /// The statement that refuses it.
    pub(super) refuse: Box<dyn Fn(Demand<'_>) -> TokenStream>,
}

/// What a number must be.
pub(super) enum Demand<'a> {
    /// `coefficient * symbol + offset` for a positive integer `symbol`.
    Form {
        symbol: &'a Symbol,
        coefficient: i64,
        offset: &'a Expr,
    },
    Equal(&'a Expr),
    AtLeast(i64),
    AtMost(i64),
}

/// One step of the protocol, applied to its number.
pub(super) fn statement(step: &EntryStep, value: &Number) -> TokenStream {
    let Number { number, refuse } = value;
    match step {
        EntryStep::Bind { symbol, coefficient: 1, offset: Expr::Int(0), .. } => {
            let symbol = names::field(symbol);
            quote!(let #symbol = #number;)
        }
        EntryStep::Bind { symbol, coefficient, offset, .. } => {
            let refused = refuse(Demand::Form { symbol, coefficient: *coefficient, offset });
            let (symbol, coefficient) = (names::field(symbol), super::kernel::integer(*coefficient));
            let rest = Expr::neg(offset.clone()).rust();
            let difference = if *offset == Expr::Int(0) { number.clone() } else { quote!(#number + (#rest)) };
            // PyTorch knows symbols to be positive, so that a solution below 1 is none.
            quote! {
                let #symbol = rt::sym::floor_div(#difference, #coefficient);
                if #symbol * #coefficient != #difference || #symbol < 1 { #refused }
            }
        }
        EntryStep::Equal { expected, .. } => {
            let (bound, refused) = (expected.rust(), refuse(Demand::Equal(expected)));
            quote!(if #number != #bound { #refused })
        }
        EntryStep::Range { bounds, .. } => {
            let low = bounds.min.map(|min| {
                let (bound, refused) = (super::kernel::integer(min), refuse(Demand::AtLeast(min)));
                quote!(if #number < #bound { #refused })
            });
            let high = bounds.max.map(|max| {
                let (bound, refused) = (super::kernel::integer(max), refuse(Demand::AtMost(max)));
                quote!(if #number > #bound { #refused })
            });
            quote!(#low #high)
        }
    }
}

/// A number the caller determines; `None` when its type fixes it.
fn number(emitter: &Emitter<'_>, source: Source) -> Result<Option<Number>, Diagnostic> {
    let (Source::Size { input, .. } | Source::Value { input }) = source;
    let field = emitter.interface.input_fields.get(input).cloned().flatten();
    let (Some(leaf), Some(field)) = (emitter.interface.inputs.get(input), field) else {
        return Err(Diagnostic::bug(format!("input {input} of the entry protocol is no argument")));
    };
    let position = literal(input);
    let (number, variant, place) = match (leaf, source) {
        (Leaf::Tensor(tensor), Source::Size { dim, .. }) => {
            let at = tensor.order.iter().position(|&d| d == dim).unwrap_or(dim);
            let dim = literal(dim);
            let size = match tensor.form {
                Form::Rows if at == 0 => quote!(inputs #field.len()),
                Form::Shaped => {
                    let at = literal(at);
                    quote!(inputs #field.shape()[#at])
                }
                Form::Nested | Form::Rows => return Ok(None),
            };
            (quote!(rt::sym::from_size(#size)), quote!(Shape), quote!(input: #position, dim: #dim))
        }
        (Leaf::Number(_), Source::Value { .. }) => (quote!(inputs #field), quote!(Argument), quote!(input: #position)),
        _ => return Err(Diagnostic::bug(format!("input {input} is of another kind than the entry protocol says"))),
    };
    let found = number.clone();
    let refuse = move |demand: Demand<'_>| {
        let (demand, bound) = match demand {
            Demand::Form { coefficient, .. } => (quote!(Form), super::kernel::integer(coefficient)),
            Demand::Equal(e) => (if e.as_int().is_some() { quote!(Static) } else { quote!(Equal) }, e.rust()),
            Demand::AtLeast(bound) => (quote!(AtLeast), super::kernel::integer(bound)),
            Demand::AtMost(bound) => (quote!(AtMost), super::kernel::integer(bound)),
        };
        quote!(return Err(rt::Error::#variant { #place, demand: rt::Demand::#demand, bound: #bound, found: #found });)
    };
    Ok(Some(Number { number, refuse: Box::new(refuse) }))
}
