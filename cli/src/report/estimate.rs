//! What share of a call's time a layer takes: a guess from counts, for finding where time goes, not for promising any.
//!
//! A layer's work is its multiply-accumulates times a rate of its kernel, plus its elements (or, of a generated loop, the
//! operations on them) times a rate of the machine. Rates are instructions on bare metal and, on hosts, products that the
//! vector units could have made meanwhile. Those of hosts come from a clock: `exported-contract --layers` prints the time of
//! each layer beside its estimate, and `docs/performance.md` says how far apart they are. Those of products on bare metal come
//! from the networks there (of cores without an FPU: 118 and 110 instructions per product of the f32 autoencoder and DS-CNN,
//! 12.5 and 9.5 on bytes); those of elements and pointwise operations are rough. Flash wait states and dual issue are not in
//! them.

use exported_codegen::footprint::{Footprint, greatest};
use exported_codegen::ir::{ExprNode, Formula};
use exported_codegen::lower::{Field, Kernel, Loop, Region, Step, Storage, Work};
use exported_codegen::options::Target;
use exported_codegen::{Model, Options};

/// Rates of one kind of machine.
struct Machine {
    rests_on: &'static str,
    /// A multiply-accumulate of a dense f32 layer.
    product: f64,
    /// Of a depthwise one.
    depthwise: f64,
    /// Of a dense layer on bytes.
    bytes: f64,
    /// An element that a kernel reads or writes.
    element: f64,
    /// A weight that is still in the cache from the last call: kernels of one row do nothing but read them.
    weight: f64,
    /// A weight of a kernel of one row in a model that has more than the cache holds.
    far_weight: f64,
    /// Lanes of a vector: channels fill whole ones.
    lanes: f64,
    /// Products that the start and end of a window cost, where it is of a convolution and where of a product.
    windows: [f64; 2],
    /// A sum or product in a generated loop.
    cheap: f64,
    /// A transcendental function or division by one.
    expensive: f64,
}

const HOST: Machine = Machine {
    rests_on: "estimated from counts, with rates of kernels measured on one x86-64 host with AVX-512",
    product: 1.05,
    depthwise: 1.8,
    bytes: 0.4,
    element: 2.0,
    weight: 3.0,
    far_weight: 14.0,
    lanes: 16.0,
    windows: [20.0, 2.0],
    cheap: 1.0,
    expensive: 20.0,
};
const CORTEX_M_FPU: Machine = Machine {
    rests_on: "estimated from counts, with instructions of kernels counted on an emulated Cortex-M4F",
    product: 1.25,
    depthwise: 1.5,
    bytes: 1.0,
    element: 4.0,
    weight: 0.0,
    far_weight: 0.0,
    lanes: 1.0,
    windows: [0.0; 2],
    cheap: 2.0,
    expensive: 40.0,
};
const NO_FPU: Machine = Machine {
    rests_on: "estimated from counts, with instructions of kernels counted on an emulated Cortex-M3 without an FPU",
    product: 110.0,
    depthwise: 110.0,
    bytes: 9.5,
    element: 6.0,
    weight: 0.0,
    far_weight: 0.0,
    lanes: 1.0,
    windows: [0.0; 2],
    cheap: 50.0,
    expensive: 1500.0,
};

fn machine(target: &Target) -> &'static Machine {
    match () {
        () if !target.is_bare_metal() => &HOST,
        () if target.fpu() => &CORTEX_M_FPU,
        () => &NO_FPU,
    }
}

/// What the estimate rests on, in words.
pub(super) fn rests_on(options: &Options) -> &'static str {
    machine(&options.target).rests_on
}

/// The work of a step in the units of its machine.
pub(super) fn work(step: &Step, model: &Model, footprint: &Footprint, options: &Options) -> f64 {
    let machine = machine(&options.target);
    let macs = greatest(&step.macs, &model.graph.ranges) as f64;
    match &step.work {
        Work::Kernel(kernel) => {
            let weights = weights(machine, kernel, model, footprint.weights > FAR);
            macs * product(machine, kernel, model) + elements(machine, kernel, model) + weights
        }
        Work::Loop(work) => pointwise(machine, work, model),
        Work::Custom(_) | Work::Check { .. } | Work::Branch { .. } | Work::Jump { .. } => 0.0,
        Work::Load { .. } | Work::Bind { .. } => 0.0,
    }
}

/// The rate of a kernel's multiply-accumulates.
fn product(machine: &Machine, kernel: &Kernel, model: &Model) -> f64 {
    let quantized = kernel.generics.first().is_some_and(|arith| arith.contains("Quantized"));
    let dense = if quantized { machine.bytes } else { machine.product };
    let number = |name| number(kernel, name, model);
    let filled = |channels: f64| (channels / machine.lanes).ceil() * machine.lanes / channels.max(1.0);
    match kernel.path {
        "winograd::Winograd" => {
            // Tiles of n x n outputs take (n + 2)^2 products for what else are 9 n^2, and transforms for each element.
            let outputs: f64 = kernel.generics.get(2).and_then(|n| n.parse().ok()).unwrap_or(2.0);
            let transform = if outputs > 2.0 { 20.0 } else { 14.0 };
            let (channels, columns) = (number("channels").unwrap_or(64.0), number("columns").unwrap_or(64.0));
            let transforms = transform * (channels + columns) / (channels * columns).max(1.0);
            dense * (1.0 + transforms) * (outputs + 2.0).powi(2) / (9.0 * outputs.powi(2))
        }
        path if path.ends_with("::Depthwise") => machine.depthwise * number("channels").map_or(1.0, filled),
        path if path.starts_with("int8::") || path.starts_with("dot4::") => machine.bytes,
        path => {
            let [conv, other] = machine.windows;
            let (window, inner) = match path {
                "conv::Conv" => (conv, number("channels").zip(taps(kernel, model)).map(|(c, taps)| c * taps)),
                _ => (other, number("inner")),
            };
            dense * number("columns").map_or(1.0, filled) * inner.map_or(1.0, |inner| 1.0 + window / inner.max(1.0))
        }
    }
}

/// A size among the fields of a kernel.
fn number(kernel: &Kernel, name: &str, model: &Model) -> Option<f64> {
    let (_, field) = kernel.fields.iter().find(|(field, _)| *field == name)?;
    let Field::Usize(size) = field else { return None };
    Some(greatest(size, &model.graph.ranges) as f64)
}

/// Taps of a convolution.
fn taps(kernel: &Kernel, model: &Model) -> Option<f64> {
    let (_, field) = kernel.fields.iter().find(|(field, _)| *field == "kernel")?;
    let Field::Array(sizes) = field else { return None };
    let size = |field: &Field| match field {
        Field::Usize(size) => greatest(size, &model.graph.ranges) as f64,
        _ => 1.0,
    };
    Some(sizes.iter().map(size).product())
}

/// Regions of a kernel that are weights, or that are neither these nor scratch: elements.
fn regions(kernel: &Kernel, model: &Model, weights: bool) -> f64 {
    let of_region = |region: &Region| {
        let storage = model.steps.buffers.get(region.buffer.0 as usize).map(|buffer| &buffer.storage);
        let counts = match storage {
            Some(Storage::Weights(_)) => weights,
            Some(Storage::Scratch) | None => false,
            _ => !weights,
        };
        if counts { greatest(&region.len, &model.graph.ranges) as f64 } else { 0.0 }
    };
    kernel.regions().into_iter().map(|(region, _)| of_region(region)).sum()
}

/// What a kernel's tensors cost.
fn elements(machine: &Machine, kernel: &Kernel, model: &Model) -> f64 {
    machine.element * regions(kernel, model, false)
}

/// What a kernel's weights cost; `far`: those of the model are more than the cache holds. Where several rows meet each, they are
/// fetched meanwhile.
fn weights(machine: &Machine, kernel: &Kernel, model: &Model, far: bool) -> f64 {
    let rate = match number(kernel, "rows", model) {
        Some(rows) if rows <= 1.0 && far => machine.far_weight,
        Some(rows) if rows > 3.0 => 0.0,
        _ if far => 0.0,
        _ => machine.weight,
    };
    rate * regions(kernel, model, true)
}

/// Bytes of weights that do not stay near from one call to the next.
const FAR: u64 = 4 << 20;

/// What a generated loop costs: its operations and tensors, for each index.
fn pointwise(machine: &Machine, work: &Loop, model: &Model) -> f64 {
    let indices = work.shape.iter().map(|size| greatest(size, &model.graph.ranges) as f64).product::<f64>();
    let tensors = (work.inputs.len() + work.outputs.len()) as f64;
    indices * (machine.element * tensors + operations(machine, &work.formula))
}

fn operations(machine: &Machine, formula: &Formula) -> f64 {
    let cost = |node: &ExprNode| match node {
        ExprNode::Param(_) | ExprNode::Const(..) | ExprNode::Coord(_) | ExprNode::Size(_) => 0.0,
        ExprNode::Unary(op, _) if op.is_expensive() => machine.expensive,
        ExprNode::Binary(op, ..) if op.is_expensive() => machine.expensive,
        _ => machine.cheap,
    };
    formula.nodes.iter().map(cost).sum()
}
