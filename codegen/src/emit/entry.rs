//! The checks before any kernel runs: symbols follow from the sizes of the inputs, ranges and conditions hold.

use super::interface::{Form, Leaf};
use super::{Emitter, doc, literal, names};
use crate::check::{EntryStep, Source};
use crate::diag::Diagnostic;
use crate::options::InputMemory;
use crate::sym::{Expr, Symbol};
use proc_macro2::{Ident, TokenStream};
use quote::quote;

/// The struct `Frame` and the function `check_inputs` that makes one.
///
/// # Errors
/// An entry protocol that contradicts the interface: our fault.
pub(super) fn entry(emitter: &Emitter<'_>) -> Result<TokenStream, Diagnostic> {
    let mut statements = Vec::new();
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut uses_inputs = false;
    for step in &emitter.entry.steps {
        let Some(statement) = statement(emitter, step)? else { continue };
        if let EntryStep::Bind { symbol, .. } = step {
            symbols.push(symbol.clone());
        }
        uses_inputs = true;
        statements.push(statement);
    }
    for (index, guard) in emitter.entry.guards.iter().enumerate() {
        let (condition, index) = (guard.condition.rust(), literal(index));
        statements.push(quote!(if !(#condition) { return Err(rt::Error::Guard { index: #index }); }));
    }
    let names: Vec<Ident> = symbols.iter().map(|s| names::field(s)).collect();
    let bound: Vec<Ident> = super::layers::bound(&emitter.steps.steps).iter().map(|s| names::field(s)).collect();
    let new = match emitter.options.inputs {
        InputMemory::Caller => quote!(),
        InputMemory::Workspace => quote! {
            impl Frame {
                pub(super) fn new(level: rt::Level) -> Frame { Frame { level, #(#bound: 0),* } }
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
        pub(super) struct Frame { pub(super) level: rt::Level, #(pub(super) #names: i64,)* #(pub(super) #bound: i64),* }

        #new

        #checks
        pub(super) fn check_inputs(level: rt::Level, #inputs: &#ty) -> Result<Frame, rt::Error> {
            #(#statements)*
            Ok(Frame { level, #(#names,)* #(#bound: 0),* })
        }
    })
}

/// One step of the protocol; `None` where the type of the argument guarantees it.
fn statement(emitter: &Emitter<'_>, step: &EntryStep) -> Result<Option<TokenStream>, Diagnostic> {
    let source = match step {
        EntryStep::Bind { source, .. } | EntryStep::Equal { source, .. } | EntryStep::Range { source, .. } => *source,
    };
    let Some(value) = number(emitter, source)? else {
        return match step {
            EntryStep::Bind { symbol, .. } => Err(Diagnostic::bug(format!("`{symbol}` is bound to a static size"))),
            _ => Ok(None),
        };
    };
    let number = &value.number;
    Ok(Some(match step {
        EntryStep::Bind { symbol, coefficient: 1, offset: Expr::Int(0), .. } => {
            let symbol = names::field(symbol);
            quote!(let #symbol = #number;)
        }
        EntryStep::Bind { symbol, coefficient, offset, .. } => {
            let (symbol, coefficient) = (names::field(symbol), super::kernel::integer(*coefficient));
            let rest = Expr::neg(offset.clone()).rust();
            let difference = if *offset == Expr::Int(0) { number.clone() } else { quote!(#number + (#rest)) };
            let error = value.fault(quote!(Form), coefficient.clone());
            // PyTorch knows symbols to be positive, so that a solution below 1 is none.
            quote! {
                let #symbol = rt::sym::floor_div(#difference, #coefficient);
                if #symbol * #coefficient != #difference || #symbol < 1 { return Err(#error); }
            }
        }
        EntryStep::Equal { expected, .. } => {
            let demand = if expected.as_int().is_some() { quote!(Static) } else { quote!(Equal) };
            let expected = expected.rust();
            let error = value.fault(demand, expected.clone());
            quote!(if #number != #expected { return Err(#error); })
        }
        EntryStep::Range { bounds, .. } => {
            let low = bounds.min.map(|min| {
                let min = super::kernel::integer(min);
                let error = value.fault(quote!(AtLeast), min.clone());
                quote!(if #number < #min { return Err(#error); })
            });
            let high = bounds.max.map(|max| {
                let max = super::kernel::integer(max);
                let error = value.fault(quote!(AtMost), max.clone());
                quote!(if #number > #max { return Err(#error); })
            });
            quote!(#low #high)
        }
    }))
}

/// A number the caller determines, and the error that blames it.
struct Number {
    /// It, as `i64`.
    number: TokenStream,
    /// The variant of the error.
    variant: TokenStream,
    /// Its fields that say which number.
    place: TokenStream,
}

impl Number {
    /// The error that it does not meet a demand.
    fn fault(&self, demand: TokenStream, bound: TokenStream) -> TokenStream {
        let Number { number, variant, place } = self;
        quote!(rt::Error::#variant { #place, demand: rt::Demand::#demand, bound: #bound, found: #number })
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
        (Leaf::Int(_), Source::Value { .. }) => (quote!(inputs #field), quote!(Argument), quote!(input: #position)),
        _ => return Err(Diagnostic::bug(format!("input {input} is of another kind than the entry protocol says"))),
    };
    Ok(Some(Number { number, variant, place }))
}
