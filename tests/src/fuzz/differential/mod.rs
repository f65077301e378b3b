//! Random small graphs: what passes, lowering and planning make of one must compute what it says node by node.
//!
//! The graph is made of the fuzzer's bytes (`graph`); a plain evaluator gives the results of every node (`reference`).
//! Then the stages run as in a compilation, and a machine executes the steps in planned memory (`machine`): loops by their
//! formulas, kernels by calling those of the runtime. It also sees what results cannot show: a step that reads memory
//! nobody wrote, that writes what it still reads, or that leaves its buffer.
//!
//! Numbers are small integers, in floats, too: sums are exact in any order, so results must be equal, not close. The rest
//! of the way, from steps to Rust, is `cargo exported verify`'s: it needs a compiler for every case.

mod graph;
mod machine;
mod reference;

use super::blames_the_archive;
use exported_codegen::diag::Errors;
use exported_codegen::ir::Constant;
use exported_codegen::{check, lower, passes, plan};
use exported_runtime::DType;
use graph::Case;

/// Compiles the graph in these bytes and compares.
pub fn differential(data: &[u8]) {
    let case = graph::case(data);
    let expected = reference::outputs(&case.graph, &case.inputs);
    let found = match compiled(&case) {
        Ok(found) => found,
        Err(errors) => {
            blames_the_archive(&errors);
            panic!("a graph of supported operations is refused: {errors}\n{}", case.graph);
        }
    };
    assert_eq!(expected.len(), found.len());
    for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let what = || format!("output {index} differs: {expected:?}\ninstead of {found:?}\n{}", case.graph);
        assert!(same(expected, found), "{}", what());
    }
}

/// The outputs of the compiled graph.
fn compiled(case: &Case) -> Result<Vec<Constant>, Errors> {
    let (mut graph, options) = (case.graph.clone(), &case.options);
    check::check(&mut graph, options)?;
    passes::run(&mut graph, options)?;
    let steps = lower::lower(&graph, options)?;
    let plan = plan::plan(&steps, &graph.ranges, options.target.alignment())?;
    Ok(machine::run(&steps, &plan, &graph, &case.inputs))
}

/// Equal elements; 0 and -0 are.
fn same(a: &Constant, b: &Constant) -> bool {
    let floats = |c: &Constant| -> Vec<f32> { machine::values(&c.data) };
    match a.dtype {
        _ if (a.dtype, &a.shape) != (b.dtype, &b.shape) => false,
        DType::F32 => floats(a) == floats(b),
        _ => a.data == b.data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::mutate::Random;
    use exported_codegen::lower::Work;
    use std::collections::BTreeSet;

    fn noise(seed: u64) -> Vec<u8> {
        let mut random = Random(seed);
        (0..100).map(|_| random.below(256) as u8).collect()
    }

    /// A generator whose graphs are all alike would find nothing.
    #[test]
    fn graphs_differ_and_reach_every_kernel_of_the_machine() {
        let (mut kernels, mut dtypes, mut longest) = (BTreeSet::new(), BTreeSet::new(), 0);
        for seed in 0..1000 {
            let Case { mut graph, options, .. } = graph::case(&noise(seed));
            longest = longest.max(graph.nodes.len());
            check::check(&mut graph, &options).expect("checks");
            passes::run(&mut graph, &options).expect("passes");
            let steps = lower::lower(&graph, &options).expect("lowers");
            dtypes.extend(steps.buffers.iter().map(|buffer| buffer.dtype.name()));
            kernels.extend(steps.steps.iter().map(|step| match &step.work {
                Work::Kernel(kernel) => kernel.path,
                _ => "a loop",
            }));
        }
        let all = [
            "a loop",
            "conv::Conv",
            "depthwise::Depthwise",
            "matmul::Linear",
            "matmul::MatMul",
            "reduce::FloatSum",
            "reduce::Max",
            "reduce::Min",
        ];
        assert_eq!(kernels, BTreeSet::from(all));
        assert_eq!(dtypes, [DType::Bool, DType::F32, DType::I32].map(|dtype| dtype.name()).into());
        assert!(longest > 10, "{longest}");
    }

    /// A reference that differs in one element must be told.
    #[test]
    fn a_wrong_element_is_told() {
        let case = graph::case(&noise(1));
        let found = compiled(&case).expect("compiles");
        let mut wrong = found[0].data.to_vec();
        wrong[0] ^= 1;
        let other = Constant { data: wrong.into(), ..found[0].clone() };
        assert!(same(&found[0], &found[0]) && !same(&found[0], &other));
    }
}
