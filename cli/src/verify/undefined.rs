//! Outputs whose contents PyTorch leaves undefined: memory of `torch.empty` and kin that nothing was written to.

use exported_codegen::schema::{Argument, OutputSpec, Program};
use std::collections::BTreeSet;

/// Operators that leave memory as it is.
const ALLOCATIONS: [&str; 6] = [
    "aten.empty.memory_format",
    "aten.empty_like.default",
    "aten.empty_permuted.default",
    "aten.empty_strided.default",
    "aten.new_empty.default",
    "aten.new_empty_strided.default",
];

/// Numbers of such outputs. An allocation that an in-place operator reads may have been filled by it, and is not one.
pub fn outputs(program: &Program) -> BTreeSet<usize> {
    let mut undefined: BTreeSet<&str> = BTreeSet::new();
    for node in &program.graph_module.graph.nodes {
        let target = node.target.strip_prefix("torch.ops.").unwrap_or(&node.target);
        if ALLOCATIONS.contains(&target) {
            undefined.extend(node.outputs.iter().flat_map(Argument::names));
        } else if target.split('.').nth(1).is_some_and(|name| name.ends_with('_')) {
            for name in node.inputs.iter().flat_map(|input| input.arg.names()) {
                undefined.remove(name);
            }
        }
    }
    let user = program.graph_module.signature.output_specs.iter().filter_map(|output| match output {
        OutputSpec::UserOutput { arg } => Some(arg),
        _ => None,
    });
    let numbered = user.enumerate();
    numbered.filter(|(_, arg)| arg.names().any(|name| undefined.contains(name))).map(|(number, _)| number).collect()
}
