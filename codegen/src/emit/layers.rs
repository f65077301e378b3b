//! One function per step, named after the module path.
//!
//! A function depends on arena, inputs, state and frame only, and takes those of them that it uses. It takes all its
//! slices from the arena in one statement, then hands a kernel or a generated loop to the dispatcher.

use super::kernel;
use super::loops::{self, Operand};
use super::memory::{Slices, element};
use super::{Emitter, doc, names};
use crate::diag::Diagnostic;
use crate::lower::{Access, Condition, Loop, Place, Region, Step, Work};
use crate::sym::{Expr, Kind, Symbol};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use std::collections::{BTreeMap, BTreeSet};

/// A printed step.
pub(super) struct Layer {
    /// The items: its function, and the loop it runs.
    pub(super) items: TokenStream,
    /// `layers::conv1(&mut self.arena, &self.frame)`, with `?` if it can fail.
    pub(super) call: TokenStream,
}

/// Prints one step.
///
/// # Errors
/// A step that its own contract forbids: our fault.
pub(super) fn layer(emitter: &Emitter<'_>, step: &Step) -> Result<Layer, Diagnostic> {
    let mut slices = Slices::new(emitter);
    let mut extra = TokenStream::new();
    let (body, fallible, dispatched) = match &step.work {
        Work::Kernel(k) => {
            let kernel = kernel::kernel(k, &mut slices)?;
            (quote!(rt::dispatch(frame.level, #kernel)), k.fallible, true)
        }
        Work::Loop(work) => (generated_loop(step, work, &mut slices, &mut extra)?, false, true),
        Work::Check { condition, message } => (check(emitter, condition, message, &mut slices)?, true, false),
        Work::Branch { condition, otherwise } => return branch(emitter, step, condition, *otherwise),
        Work::Jump { to } => {
            let to = super::literal(*to);
            return Ok(Layer {
                items: quote!(),
                call: quote!({ self.next = #to; return ::core::result::Result::Ok(true); }),
            });
        }
        Work::Custom(call) => return super::custom::layer(emitter, step, call),
        Work::Bind { symbol, value } => return Ok(bind(step, symbol, value)),
        Work::Load { symbol, region } => return load(emitter, step, symbol, region),
    };
    let Parameters { declared, passed } = parameters(emitter, &slices, dispatched);
    let (name, about) = (names::ident(&step.name), doc(&about(step)));
    let result = if fallible { quote!(-> Result<(), rt::Error>) } else { quote!() };
    let end = if fallible { quote!() } else { quote!(;) };
    let taken = slices.statements();
    let symbols = locals(&slices.symbols);
    let items = quote! {
        #extra
        #about
        #[inline(never)]
        pub(super) fn #name(#(#declared),*) #result { #symbols #taken #body #end }
    };
    let question = if fallible { quote!(?) } else { quote!() };
    Ok(Layer { items, call: quote!(layers::#name(#(#passed),*)#question) })
}

/// A function that tells whether a condition holds; where it does not, the call goes on elsewhere.
fn branch(emitter: &Emitter<'_>, step: &Step, condition: &Condition, otherwise: usize) -> Result<Layer, Diagnostic> {
    let mut slices = Slices::new(emitter);
    let body = match condition {
        Condition::Size(condition) => {
            slices.symbols.extend(condition.symbols());
            condition.rust()
        }
        Condition::Data(region) => {
            let predicate = slices.read(region, slices.buffer_name(region.buffer))?;
            quote!(#predicate.first().is_some_and(|holds| *holds != 0))
        }
    };
    let Parameters { declared, passed } = parameters(emitter, &slices, false);
    let (name, about) = (names::ident(&step.name), doc(&about(step)));
    let (taken, symbols, otherwise) = (slices.statements(), locals(&slices.symbols), super::literal(otherwise));
    let items = quote! {
        #about
        pub(super) fn #name(#(#declared),*) -> bool { #symbols #taken #body }
    };
    let call = quote! {
        if !layers::#name(#(#passed),*) {
            self.next = #otherwise;
            return ::core::result::Result::Ok(true);
        }
    };
    Ok(Layer { items, call })
}

/// A function that gives a symbol its value.
fn bind(step: &Step, symbol: &Symbol, value: &Expr) -> Layer {
    let (name, about, field) = (names::ident(&step.name), doc(&about(step)), names::field(symbol));
    let (symbols, value) = (locals(&value.symbols().into_iter().collect()), value.rust());
    let items = quote! {
        #about
        pub(super) fn #name(frame: &mut Frame) { #symbols frame.#field = #value; }
    };
    Layer { items, call: quote!(layers::#name(&mut self.frame)) }
}

/// A function that reads the value of a symbol.
fn load(emitter: &Emitter<'_>, step: &Step, symbol: &Symbol, region: &Region) -> Result<Layer, Diagnostic> {
    let mut slices = Slices::new(emitter);
    let element = slices.read(region, slices.buffer_name(region.buffer))?;
    let Parameters { declared, passed } = parameters(emitter, &slices, false);
    let (name, about, field) = (names::ident(&step.name), doc(&about(step)), names::field(symbol));
    let (taken, symbols) = (slices.statements(), locals(&slices.symbols));
    let ty = number_type(symbol);
    let items = quote! {
        #about
        pub(super) fn #name(#(#declared),*) -> Result<#ty, rt::Error> {
            #symbols
            #taken
            let element = #element.first().ok_or(rt::Error::Internal)?;
            Ok(rt::scalar::cast::<_, #ty>(*element))
        }
    };
    Ok(Layer { items, call: quote!(self.frame.#field = layers::#name(#(#passed),*)?) })
}

/// The type of a symbol's value.
pub(super) fn number_type(symbol: &Symbol) -> TokenStream {
    if Expr::Symbol(symbol.clone()).kind() == Kind::Float { quote!(f64) } else { quote!(i64) }
}

/// Symbols that steps give values, in order.
pub(super) fn bound(steps: &[Step]) -> BTreeSet<Symbol> {
    let symbol = |step: &Step| match &step.work {
        Work::Bind { symbol, .. } | Work::Load { symbol, .. } => Some(symbol.clone()),
        _ => None,
    };
    steps.iter().filter_map(symbol).collect()
}

/// `let s77 = frame.s77;` for each.
pub(super) fn locals(symbols: &BTreeSet<Symbol>) -> TokenStream {
    symbols
        .iter()
        .map(|symbol| {
            let name = names::field(symbol);
            quote!(let #name = frame.#name;)
        })
        .collect()
}

/// What a step's function takes.
pub(super) struct Parameters {
    pub(super) declared: Vec<TokenStream>,
    pub(super) passed: Vec<TokenStream>,
}

/// Those of arena, inputs, state and frame that it uses.
pub(super) fn parameters(emitter: &Emitter<'_>, slices: &Slices<'_, '_>, dispatched: bool) -> Parameters {
    let mut parameters = Parameters { declared: Vec::new(), passed: Vec::new() };
    let mut add = |declared, passed| {
        parameters.declared.push(declared);
        parameters.passed.push(passed);
    };
    if slices.uses_arena() {
        add(quote!(arena: &mut rt::Arena<'_>), quote!(&mut self.arena));
    }
    if slices.inputs {
        let ty = emitter.interface.inputs_type(&quote!('_));
        add(quote!(inputs: &#ty), quote!(&self.inputs));
    }
    if slices.uses_state() {
        add(quote!(state: &mut rt::Arena<'_>), quote!(&mut self.state.arena()));
    }
    if dispatched || !slices.symbols.is_empty() {
        add(quote!(frame: &Frame), quote!(&self.frame));
    }
    parameters
}

/// What the documentation of a step's function says.
pub(super) fn about(step: &Step) -> String {
    let origin = &step.origin;
    let mut text = match (&step.work, origin.target.as_str()) {
        (Work::Loop(_), "") => String::from("Moves values"),
        // A step that defines no value brings operands into the order that its node wants.
        (Work::Loop(_), target) if step.results.is_empty() => format!("Moves values for `{target}`"),
        (_, target) => format!("`{target}`"),
    };
    if !origin.module.is_empty() {
        text += &format!(" of module `{}`", origin.module);
    }
    if let Some(source) = &origin.source {
        text += &format!(", `{source}`");
    }
    for (name, place) in &step.results {
        let sizes: Vec<String> = place.shape.iter().map(Expr::to_string).collect();
        text += &format!("; `{name}`: {}[{}]", place.dtype.name(), sizes.join(", "));
    }
    text + "."
}

fn check(
    emitter: &Emitter<'_>,
    condition: &Expr,
    message: &str,
    slices: &mut Slices<'_, '_>,
) -> Result<TokenStream, Diagnostic> {
    slices.symbols.extend(condition.symbols());
    let index = emitter.asserts.iter().position(|(c, m)| c == condition && m == message);
    let index = index.ok_or_else(|| Diagnostic::bug("assertion is not listed"))?;
    let (condition, index) = (condition.rust(), super::literal(index));
    Ok(quote!(if #condition { Ok(()) } else { Err(rt::Error::Assert { index: #index }) }))
}

/// The struct of a loop, its `rt::Op`, and the expression that runs it.
fn generated_loop(
    step: &Step,
    work: &Loop,
    slices: &mut Slices<'_, '_>,
    items: &mut TokenStream,
) -> Result<TokenStream, Diagnostic> {
    let spans = spans(work);
    // The fields of the loop are a scope of their own, so that they bear the names of the slices.
    let mut scope = slices.scope();
    let (mut fields, mut values, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    for span in &spans {
        let name = slices.buffer_name(span.region.buffer);
        let variable = scope.fresh(name);
        let ty = element(span.dtype);
        if span.write {
            fields.push(quote!(#variable: &'a mut [#ty]));
            values.push(slices.write(&span.region, name)?);
        } else {
            fields.push(quote!(#variable: &'a [#ty]));
            values.push(slices.read(&span.region, name)?);
        }
        variables.push(variable);
    }
    let operand = |place: &Place, output: bool| {
        let found = spans.iter().position(|s| s.places.contains(&(place.clone(), output)));
        let index = found.ok_or_else(|| Diagnostic::bug("operand of a loop has no slice"))?;
        let first = Expr::sub(place.offset.clone(), spans[index].region.offset.clone());
        Ok(Operand { slice: variables[index].clone(), first, place: place.clone() })
    };
    let inputs = work.inputs.iter().map(|p| operand(p, false)).collect::<Result<Vec<_>, Diagnostic>>()?;
    let outputs = work.outputs.iter().map(|p| operand(p, true)).collect::<Result<Vec<_>, Diagnostic>>()?;
    let body = loops::body(work, &inputs, &outputs)?;
    let symbols: BTreeSet<Symbol> = loop_symbols(work);
    let names: Vec<Ident> = symbols.iter().map(|s| names::field(s)).collect();
    let types: Vec<TokenStream> = symbols.iter().map(number_type).collect();
    slices.symbols.extend(symbols);
    let name = names::ident(&names::camel(&format!("loop_{}", step.name)));
    let lifetime = if spans.is_empty() { quote!() } else { quote!(<'a>) };
    let elided = if spans.is_empty() { quote!() } else { quote!(<'_>) };
    items.extend(quote! {
        struct #name #lifetime { #(#fields,)* #(#names: #types,)* }
        impl rt::Op for #name #elided {
            type Output = ();
            #[inline(always)]
            fn call<S: rt::Simd>(self, s: S) {
                let Self { #(#variables,)* #(#names,)* } = self;
                #body
            }
        }
    });
    Ok(quote!(rt::dispatch(frame.level, #name { #(#variables: #values,)* #(#names,)* })))
}

fn loop_symbols(work: &Loop) -> BTreeSet<Symbol> {
    let places = work.inputs.iter().chain(&work.outputs);
    let of_places = places.flat_map(|p| p.shape.iter().chain(&p.strides).chain([&p.offset]));
    of_places.chain(&work.shape).chain(&work.formula.sizes).flat_map(Expr::symbols).collect()
}

/// A stretch of one buffer that operands of a loop share.
struct Span {
    region: Region,
    dtype: exported_runtime::DType,
    write: bool,
    /// The operands in it, and whether each is an output.
    places: Vec<(Place, bool)>,
}

/// Gives each operand a slice of its own, except where an output meets another operand: those share one. With sizes that
/// are known at run time only, an output shares with every operand of its buffer.
fn spans(work: &Loop) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let outputs = work.outputs.iter().map(|p| (p, true));
    for (place, write) in outputs.chain(work.inputs.iter().map(|p| (p, false))) {
        let mut span = Span { region: whole(place), dtype: place.dtype, write, places: vec![(place.clone(), write)] };
        // Merging may make the span meet another one, so all are looked at until none is left.
        while let Some(i) =
            spans.iter().position(|other| same(&span, other) || (span.write || other.write) && meet(&span, other))
        {
            let other = spans.remove(i);
            span = merged(other, span);
        }
        spans.push(span);
    }
    spans
}

fn same(a: &Span, b: &Span) -> bool {
    a.region.buffer == b.region.buffer && a.region == b.region && !a.write && !b.write
}

fn whole(place: &Place) -> Region {
    let forward = place.strides.iter().all(|s| s.as_int().is_none_or(|s| s >= 0));
    match place.bounds() {
        Some((low, high)) => Region {
            buffer: place.buffer,
            offset: Expr::Int(low),
            len: Expr::Int(if place.shape.contains(&Expr::Int(0)) { 0 } else { high - low }),
            access: Access::Whole,
        },
        None if forward => place.region(Access::Whole),
        None => {
            // A flipped dim of unknown size: the first element is the lowest along it.
            let mut low = place.clone();
            for (size, stride) in place.shape.iter().zip(&mut low.strides) {
                if stride.as_int().is_some_and(|s| s < 0) {
                    let last = Expr::mul(Expr::sub(size.clone(), Expr::Int(1)), stride.clone());
                    low.offset = Expr::add(low.offset, last);
                    *stride = Expr::neg(stride.clone());
                }
            }
            low.region(Access::Whole)
        }
    }
}

fn ends(span: &Span) -> Option<(i64, i64)> {
    Some((span.region.offset.as_int()?, span.region.offset.as_int()? + span.region.len.as_int()?))
}

fn meet(a: &Span, b: &Span) -> bool {
    if a.region.buffer != b.region.buffer {
        return false;
    }
    match (ends(a), ends(b)) {
        (Some(a), Some(b)) => a.0 < b.1 && b.0 < a.1,
        // After the end of one begins the other.
        _ => {
            let after =
                |x: &Span, y: &Span| Expr::add(x.region.offset.clone(), x.region.len.clone()) == y.region.offset;
            !after(a, b) && !after(b, a)
        }
    }
}

fn merged(mut a: Span, b: Span) -> Span {
    let region = match (ends(&a), ends(&b)) {
        _ if a.region == b.region => a.region.clone(),
        (Some(x), Some(y)) => {
            let (low, high) = (x.0.min(y.0), x.1.max(y.1));
            Region { offset: Expr::Int(low), len: Expr::Int(high - low), ..a.region.clone() }
        }
        _ => {
            let end = |r: &Region| Expr::add(r.offset.clone(), r.len.clone());
            let low = Expr::min(a.region.offset.clone(), b.region.offset.clone());
            let high = Expr::max(end(&a.region), end(&b.region));
            Region { len: Expr::sub(high, low.clone()), offset: low, ..a.region.clone() }
        }
    };
    a.region = region;
    a.write |= b.write;
    a.places.extend(b.places);
    a
}

/// Assertions of the steps in order: what `rt::Error::Assert` counts.
pub(super) fn asserts(steps: &[Step]) -> Vec<(Expr, String)> {
    let mut seen = BTreeMap::new();
    for step in steps {
        if let Work::Check { condition, message } = &step.work {
            let next = seen.len();
            seen.entry((condition.clone(), message.clone())).or_insert(next);
        }
    }
    let mut asserts: Vec<((Expr, String), usize)> = seen.into_iter().collect();
    asserts.sort_by_key(|(_, index)| *index);
    asserts.into_iter().map(|(assert, _)| assert).collect()
}
