//! Inputs that stand in the workspace ([`InputMemory::Workspace`]): the call that has them filled there, and the copy for
//! callers who hold theirs.

use super::interface::{Form, Leaf};
use super::{Emitter, doc, memory};
use crate::diag::{Diagnostic, Kind};
use crate::lower::Storage;
use crate::options::InputMemory;
use exported_runtime::DType;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

/// The inputs, one entry each.
pub(super) struct Entered {
    names: Vec<Ident>,
    ranges: Vec<TokenStream>,
    elements: Vec<TokenStream>,
    arrays: Vec<TokenStream>,
    /// The caller's, as slices.
    callers: Vec<TokenStream>,
}

/// `None` where inputs stay with the caller.
///
/// # Errors
/// An input that cannot stand in the workspace.
pub(super) fn entered(emitter: &Emitter<'_>) -> Result<Option<Entered>, Diagnostic> {
    if emitter.options.inputs == InputMemory::Caller {
        return Ok(None);
    }
    let mut entered = Entered { names: vec![], ranges: vec![], elements: vec![], arrays: vec![], callers: vec![] };
    for (i, leaf) in emitter.interface.inputs.iter().enumerate() {
        let tensor = match leaf {
            Leaf::Constant(_) => continue,
            Leaf::Tensor(t) if t.form == Form::Nested && !t.mutable && t.dtype != DType::Bool => t,
            _ => {
                let name = &emitter.graph.inputs[i].name;
                let message = format!(
                    "`{name}` cannot stand in the workspace: only tensors of constant sizes can, other than bool, that no call changes"
                );
                return Err(Diagnostic::new(Kind::Usage, message));
            }
        };
        let buffer = emitter.steps.buffers.iter().position(|buffer| buffer.storage == Storage::Entered(i));
        let place = buffer.and_then(|b| Some((emitter.plan.offsets[b]?, emitter.plan.sizes[b])));
        let (start, bytes) =
            place.ok_or_else(|| Diagnostic::bug(format!("input {i} has no place in the workspace")))?;
        let (start, bytes) = (super::literal(start), super::literal(bytes));
        entered.names.push(format_ident!("x{i}"));
        entered.ranges.push(quote!((#start, #bytes)));
        entered.elements.push(memory::element(tensor.dtype));
        entered.arrays.push(tensor.array(0));
        entered.callers.push(emitter.interface.flat(i)?);
    }
    Ok(Some(entered))
}

impl Entered {
    /// Statements that copy the caller's `inputs` to `arena`.
    pub(super) fn copied(&self) -> TokenStream {
        let Entered { names, ranges, elements, callers, .. } = self;
        quote! {
            let ([], [#(#names),*]) = arena.regions([], [#(#ranges),*]);
            #(rt::copy_into(#callers, rt::cast_mut::<#elements>(#names))?;)*
        }
    }

    /// `Model::forward_with`; `lent` are further fields of `Run`.
    pub(super) fn method(&self, outputs: &TokenStream, lent: &TokenStream) -> TokenStream {
        let Entered { names, ranges, elements, arrays, .. } = self;
        let about = doc(
            "One call whose inputs `fill` writes where the model reads them, in the workspace: no copy of them stands elsewhere, and later layers use their memory. They hold anything before. The results lie in the workspace.\n\n# Errors\nAs [`Model::forward`].",
        );
        let result = quote!(::core::result::Result);
        quote! {
            #about
            #[inline]
            pub fn forward_with<'w>(&mut self, workspace: &'w mut rt::Workspace<'_>, fill: impl ::core::ops::FnOnce(#(&mut #arrays),*)) -> #result<#outputs, rt::Error> {
                let mut arena = workspace.arena(WORKSPACE_BYTES)?;
                let ([], [#(#names),*]) = arena.regions([], [#(#ranges),*]);
                fill(#(rt::nested_mut(rt::cast_mut::<#elements>(#names)).ok_or(rt::Error::Internal)?),*);
                let frame = layers::Frame::new(rt::Level::detect());
                let mut run = Run { state: &mut self.state, #lent arena, frame, next: 0 };
                run.all()?;
                run.outputs()
            }
        }
    }
}
