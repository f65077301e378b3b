//! Where weights and state stand, and what else of a model is stored in flash.
//!
//! Takes [`Steps`] and the graph's state; gives offsets, and the bytes in which the state begins. `emit` copies the
//! weights there, budgets and reports count them.

use crate::diag::Diagnostic;
use crate::ir::Graph;
use crate::lower::{Steps, Storage};

/// Offsets of the buffers that the plan of the workspace does not cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Byte offset per buffer in weights or state; 0 for others.
    pub offsets: Vec<usize>,
    /// Bytes of all weights, padding between them included.
    pub weight_bytes: usize,
    /// How many of those are padding.
    pub padding_bytes: usize,
    /// Bytes of the state.
    pub state_bytes: usize,
    /// The state that the archive holds; empty if all of it is zero, and nothing has to be stored.
    pub initial_state: Vec<u8>,
}

impl Layout {
    /// Lays out weights and state.
    ///
    /// # Errors
    /// State whose size is not constant: our fault.
    pub fn new(steps: &Steps, graph: &Graph) -> Result<Layout, Diagnostic> {
        let mut layout = Layout::default();
        let mut initial = Vec::new();
        for buffer in &steps.buffers {
            let offset = match &buffer.storage {
                Storage::Weights(data) => {
                    // Large ones start at a cache line, small ones at a vector.
                    let offset = layout.weight_bytes.next_multiple_of(if data.len() >= 64 { 64 } else { 16 });
                    layout.padding_bytes += offset - layout.weight_bytes;
                    layout.weight_bytes = offset + data.len();
                    offset
                }
                Storage::State(index) => {
                    let bytes =
                        buffer.len.as_int().and_then(|n| usize::try_from(n).ok()).map(|n| n * buffer.dtype.size());
                    let bytes = bytes.ok_or_else(|| Diagnostic::bug(format!("state `{}` has no size", buffer.name)))?;
                    let offset = layout.state_bytes.next_multiple_of(16);
                    layout.state_bytes = offset + bytes;
                    initial.resize(layout.state_bytes, 0);
                    let data = graph.state.get(*index).map(|state| &graph.constants[state.initial.0 as usize].data);
                    if let Some((data, place)) =
                        data.and_then(|data| Some((data, initial.get_mut(offset..offset + data.len())?)))
                    {
                        place.copy_from_slice(data);
                    }
                    offset
                }
                _ => 0,
            };
            layout.offsets.push(offset);
        }
        if initial.iter().any(|byte| *byte != 0) {
            layout.initial_state = initial;
        }
        Ok(layout)
    }

    /// The weights at their offsets.
    pub fn weights(&self, steps: &Steps) -> Vec<u8> {
        let mut bytes = vec![0; self.weight_bytes];
        for (buffer, offset) in steps.buffers.iter().zip(&self.offsets) {
            if let Storage::Weights(data) = &buffer.storage {
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
        bytes
    }
}
