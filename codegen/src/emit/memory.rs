//! Where everything lies at run time: weights and state in bytes, inputs as expressions, and the slices of one step.

use super::names::Variables;
use super::{Emitter, literal};
use crate::diag::Diagnostic;
use crate::lower::{BufferId, Region, Storage};
use crate::options::Optimize;
use crate::sym::{Expr, Symbol};
use exported_runtime::DType;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

/// The element type that holds a dtype in memory.
pub(super) fn element(dtype: DType) -> TokenStream {
    match dtype {
        DType::Bool => quote!(u8),
        DType::F16 => quote!(rt::F16),
        DType::Bf16 => quote!(rt::Bf16),
        other => {
            let name = super::names::ident(other.name());
            quote!(#name)
        }
    }
}

/// `rt::DType::F32`.
pub(super) fn dtype(dtype: DType) -> TokenStream {
    let name = match dtype {
        DType::Bool => "Bool".to_string(),
        DType::Bf16 => "Bf16".to_string(),
        other => other.name().to_ascii_uppercase(),
    };
    let name = super::names::ident(&name);
    quote!(rt::DType::#name)
}

/// One range taken from arena or state.
struct Range {
    name: Ident,
    start: Expr,
    len: Expr,
    write: bool,
}

/// The slices of one step: asked for one by one, then taken all at once.
pub(super) struct Slices<'e, 'a> {
    emitter: &'e Emitter<'a>,
    variables: Variables,
    arena: Vec<Range>,
    state: Vec<Range>,
    /// Reads the caller's inputs.
    pub(super) inputs: bool,
    /// Symbols that occur in sizes and offsets.
    pub(super) symbols: BTreeSet<Symbol>,
}

impl<'e, 'a> Slices<'e, 'a> {
    pub(super) fn new(emitter: &'e Emitter<'a>) -> Self {
        let variables = Variables::default();
        let mut slices = Slices {
            emitter,
            variables,
            arena: Vec::new(),
            state: Vec::new(),
            inputs: false,
            symbols: BTreeSet::new(),
        };
        slices.variables = slices.scope();
        slices
    }

    pub(super) fn uses_arena(&self) -> bool {
        !self.arena.is_empty()
    }

    pub(super) fn uses_state(&self) -> bool {
        !self.state.is_empty()
    }

    /// A scope in which the names of parameters and symbols are taken.
    pub(super) fn scope(&self) -> Variables {
        let mut taken = vec!["arena", "state", "inputs", "ops", "frame", "s", "rt", "weights"];
        taken.extend(self.emitter.graph.ranges.0.keys().map(|s| s.as_ref()));
        let bound = super::layers::bound(&self.emitter.steps.steps);
        taken.extend(bound.iter().map(|s| s.as_ref()));
        Variables::without(&taken)
    }

    /// Name of a buffer.
    pub(super) fn buffer_name(&self, id: BufferId) -> &'a str {
        self.emitter.steps.buffers.get(id.0 as usize).map_or("", |b| b.name.as_str())
    }

    /// A size expression as Rust of type `usize`; a literal when it is constant.
    pub(super) fn size(&mut self, expr: &Expr) -> TokenStream {
        self.symbols.extend(expr.symbols());
        size(expr)
    }

    /// `&[T]` of a region.
    pub(super) fn read(&mut self, region: &Region, name: &str) -> Result<TokenStream, Diagnostic> {
        let buffer = self.buffer(region.buffer)?;
        let ty = element(buffer.dtype);
        if region.len == Expr::Int(0) {
            // Nothing else may tell the kernel its element type.
            return Ok(quote!(rt::cast::<#ty>(&[])));
        }
        Ok(match &buffer.storage {
            Storage::Weights(_) => self.weights(region, buffer.dtype)?,
            Storage::Input(i) => {
                self.inputs = true;
                let whole = self.emitter.interface.flat(*i)?;
                if region.offset == Expr::Int(0) && region.len == buffer.len {
                    whole
                } else {
                    let (start, len) = (self.size(&region.offset), self.size(&region.len));
                    quote!(rt::part(#whole, #start, #len))
                }
            }
            _ => {
                let name = self.range(region, name, false)?;
                quote!(rt::cast::<#ty>(#name))
            }
        })
    }

    /// `&mut [T]` of a region.
    pub(super) fn write(&mut self, region: &Region, name: &str) -> Result<TokenStream, Diagnostic> {
        if region.len == Expr::Int(0) {
            return Ok(quote!(&mut []));
        }
        let buffer = self.buffer(region.buffer)?;
        if matches!(buffer.storage, Storage::Weights(_) | Storage::Input(_)) {
            return Err(Diagnostic::bug(format!("a step writes to `{}`, which is read-only", buffer.name)));
        }
        let ty = element(buffer.dtype);
        let name = self.range(region, name, true)?;
        Ok(quote!(rt::cast_mut::<#ty>(#name)))
    }

    fn buffer(&self, id: BufferId) -> Result<&'a crate::lower::Buffer, Diagnostic> {
        let buffer = self.emitter.steps.buffers.get(id.0 as usize);
        buffer.ok_or_else(|| Diagnostic::bug(format!("buffer {} does not exist", id.0)))
    }

    fn weights(&mut self, region: &Region, dtype: DType) -> Result<TokenStream, Diagnostic> {
        let fixed = |e: &Expr| e.as_int().and_then(|v| usize::try_from(v).ok());
        let start = self.emitter.layout.offsets[region.buffer.0 as usize];
        let ty = element(dtype);
        let Some(len) = fixed(&region.len) else {
            // A part whose size depends on the call.
            let buffer = self.buffer(region.buffer)?;
            let all = literal(fixed(&buffer.len).unwrap_or(0));
            let (offset, len) = (self.size(&region.offset), self.size(&region.len));
            let start = literal(start);
            return Ok(quote!(rt::part(WEIGHTS.slice::<#ty, #start, #all>(), #offset, #len)));
        };
        let Some(offset) = fixed(&region.offset) else {
            return Err(Diagnostic::bug("offset of a constant is not constant"));
        };
        let (start, len) = (literal(start + offset * dtype.size()), literal(len));
        Ok(quote!(WEIGHTS.slice::<#ty, #start, #len>()))
    }

    fn range(&mut self, region: &Region, name: &str, write: bool) -> Result<Ident, Diagnostic> {
        let buffer = self.buffer(region.buffer)?;
        let index = region.buffer.0 as usize;
        let in_state = matches!(buffer.storage, Storage::State(_));
        let base = if in_state {
            self.emitter.layout.offsets[index]
        } else {
            let planned = self.emitter.plan.offsets.get(index).copied().flatten();
            planned.ok_or_else(|| Diagnostic::bug(format!("buffer `{}` is not planned", buffer.name)))?
        };
        let size = Expr::from(buffer.dtype.size());
        let start = Expr::add(Expr::mul(region.offset.clone(), size.clone()), Expr::from(base));
        let len = Expr::mul(region.len.clone(), size);
        self.symbols.extend(start.symbols());
        self.symbols.extend(len.symbols());
        let name = self.variables.fresh(name);
        let ranges = if in_state { &mut self.state } else { &mut self.arena };
        for other in ranges.iter().filter(|r| r.write || write) {
            if overlap(&start, &len, other) {
                return Err(Diagnostic::bug(format!(
                    "a step writes `{}` where it also uses `{}`",
                    if write { &name } else { &other.name },
                    if write { &other.name } else { &name },
                )));
            }
        }
        ranges.push(Range { name: name.clone(), start, len, write });
        Ok(name)
    }

    /// `let ([reads], [writes]) = arena.regions(..);` and the same for the state.
    pub(super) fn statements(&self) -> TokenStream {
        let regions = match self.emitter.options.optimize {
            Optimize::Speed => quote!(regions),
            Optimize::Size => quote!(regions_checked),
        };
        let arena = take(&self.arena, quote!(arena.#regions));
        let state = take(&self.state, quote!(state.#regions));
        quote!(#arena #state)
    }
}

/// Whether a constant range certainly meets another one.
fn overlap(start: &Expr, len: &Expr, other: &Range) -> bool {
    let ends = |s: &Expr, l: &Expr| Some((s.as_int()?, s.as_int()? + l.as_int()?));
    match (ends(start, len), ends(&other.start, &other.len)) {
        (Some(a), Some(b)) => a.0 < b.1 && b.0 < a.1,
        _ => false,
    }
}

fn take(ranges: &[Range], regions: TokenStream) -> TokenStream {
    if ranges.is_empty() {
        return quote!();
    }
    let list = |write: bool| {
        let chosen: Vec<&Range> = ranges.iter().filter(|r| r.write == write).collect();
        let names: Vec<&Ident> = chosen.iter().map(|r| &r.name).collect();
        let pairs = chosen.iter().map(|r| {
            let (start, len) = (size(&r.start), size(&r.len));
            quote!((#start, #len))
        });
        (quote!([#(#names),*]), quote!([#(#pairs),*]))
    };
    let ((reads, read_ranges), (writes, write_ranges)) = (list(false), list(true));
    quote!(let (#reads, #writes) = #regions(#read_ranges, #write_ranges);)
}

/// A size expression as Rust of type `usize`.
pub(super) fn size(expr: &Expr) -> TokenStream {
    match expr.as_int() {
        Some(v) => {
            let v: Literal = literal(usize::try_from(v).unwrap_or(0));
            quote!(#v)
        }
        None => {
            let value = expr.rust();
            quote!(rt::sym::size(#value))
        }
    }
}
