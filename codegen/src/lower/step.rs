//! What `lower` gives: steps over buffers. The last form before memory is planned and Rust is printed.
//!
//! A step reads and writes [`Region`]s of [`Buffer`]s. Whether two values share a buffer (in-place, concat, views) is
//! already decided: `plan` only gives arena buffers their offsets, `emit` only prints.

use crate::diag::Origin;
use crate::ir::{Custom, Formula, TensorType};
use crate::sym::{Expr, Symbol};
use exported_runtime::DType;
use std::borrow::Cow;
use std::sync::Arc;

/// A lowered model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    /// What the steps work on.
    pub buffers: Vec<Buffer>,
    /// In execution order, but for branches and jumps; those lead forward except from the end of a loop to its head.
    pub steps: Vec<Step>,
    /// Where each output of the graph stands after the last step: dense, row-major. `None` for outputs that are no tensors.
    pub outputs: Vec<Option<Region>>,
}

/// Index into [`Steps::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

/// Contiguous memory of one dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Name for reports: that of the value it was made for.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub len: Expr,
    /// Where it lives.
    pub storage: Storage,
    /// Bytes by which a transform made weights larger, for reports.
    pub growth: usize,
}

/// Where a buffer lives.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// Planned.
    Arena,
    /// Planned, lives during one step only and holds no value.
    Scratch,
    /// Baked in: elements as the kernels read them (packed), little-endian.
    Weights(Arc<[u8]>),
    /// The caller's tensor: index into the inputs of the graph. Read only.
    Input(usize),
    /// Planned; the caller's tensor, which stands there before the first step: index into the inputs of the graph.
    Entered(usize),
    /// A mutated buffer of the model: index into the state entries of the graph.
    State(usize),
}

/// `len` elements of a buffer from `offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The buffer.
    pub buffer: BufferId,
    /// First element.
    pub offset: Expr,
    /// Number of elements.
    pub len: Expr,
    /// Which of its elements a step touches when: lets a planner overlap buffers.
    pub access: Access,
}

/// In which order a step touches the elements of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Any.
    #[default]
    Whole,
    /// Element `i` together with element `i` of the step's other elementwise regions, once.
    Elementwise,
}

/// Where a tensor stands: a strided window onto a buffer. Strides and offset count elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The buffer.
    pub buffer: BufferId,
    /// Element type.
    pub dtype: DType,
    /// First element.
    pub offset: Expr,
    /// Sizes, the logical dims of the value.
    pub shape: Vec<Expr>,
    /// Distance of neighbours along each dim; 0 where repeated, negative where flipped.
    pub strides: Vec<Expr>,
}

/// One unit of execution: a function of generated code, one row of the report, one turn of `step()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of its function, from the module path and operator (`features_0_conv2d`); unique.
    pub name: String,
    /// The node it came from (of several fused ones, the first).
    pub origin: Origin,
    /// Names of all graph nodes it computes.
    pub nodes: Vec<String>,
    /// The values it defines and where, for dumps and reports.
    pub results: Vec<(String, Place)>,
    /// What it does.
    pub work: Work,
    /// Multiply-accumulates, for the report.
    pub macs: Expr,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A kernel of the runtime.
    Kernel(Kernel),
    /// A generated loop nest.
    Loop(Loop),
    /// A custom operator of the user's.
    Custom(CustomCall),
    /// Fails unless the condition on symbols holds.
    Check {
        /// The condition.
        condition: Expr,
        /// The archive's own words.
        message: String,
    },
    /// Goes on with the next step if the condition holds, else with that one.
    Branch {
        /// The condition.
        condition: Condition,
        /// Index of a step, or their number.
        otherwise: usize,
    },
    /// Goes on with that step.
    Jump {
        /// Index of a step, or their number.
        to: usize,
    },
    /// Gives a symbol the value of an integer tensor of one element.
    Load {
        /// The symbol.
        symbol: Symbol,
        /// The element.
        region: Region,
    },
    /// Gives a symbol its value for the steps that follow.
    Bind {
        /// The symbol: one that no input determines.
        symbol: Symbol,
        /// Its value, over symbols known by then, itself included.
        value: Expr,
    },
}

/// What a branch looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A condition on symbols.
    Size(Expr),
    /// A bool tensor of one element.
    Data(Region),
}

/// A call of a runtime kernel: the struct `rt::kernels::<path>` with these fields, run by `rt::dispatch`.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// `conv::Conv2d`.
    pub path: &'static str,
    /// Generic arguments as Rust text (`f32`, `rt::Panel16`); empty when inferred.
    pub generics: Vec<String>,
    /// Fields in order.
    pub fields: Vec<(&'static str, Field)>,
    /// Its output is a `Result`.
    pub fallible: bool,
}

/// A call of a custom operator.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomCall {
    /// Operator and arguments.
    pub call: Custom,
    /// Its operands: dense, row-major.
    pub operands: Vec<(Region, TensorType)>,
    /// Its results: dense, row-major.
    pub results: Vec<(Region, TensorType)>,
}

/// Value of a kernel's field.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// `&[T]`.
    Read(Region),
    /// `&mut [T]`; with `update` its old contents are read, too.
    Write {
        /// Where.
        region: Region,
        /// Also read.
        update: bool,
    },
    /// `usize`.
    Usize(Expr),
    /// `isize`.
    Isize(Expr),
    /// `i64`.
    Int(Expr),
    /// Bits of an `f32`.
    F32(u32),
    /// Bits of an `f64`.
    F64(u64),
    /// `bool`.
    Bool(bool),
    /// `[..]`.
    Array(Vec<Field>),
    /// `Some(..)` or `None`.
    Option(Option<Box<Field>>),
    /// `()`.
    Unit,
    /// A constant, unit struct or enum variant below `rt::kernels` (`matmul::Activation::None`).
    Path(Cow<'static, str>),
    /// A struct or struct-like variant below `rt::kernels`.
    Struct(&'static str, Vec<(&'static str, Field)>),
    /// A tuple variant below `rt::kernels`.
    Tuple(&'static str, Vec<Field>),
}

/// `outputs[j][i..] = formula_j(inputs[..][i..])` over every index of `shape`.
///
/// Every place has the shape of the loop (broadcast dims have stride 0); outputs never repeat an element. An output may
/// stand exactly where one of the inputs stands: the loop is then in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// Sizes of the index space.
    pub shape: Vec<Expr>,
    /// What is computed; `Coord(i)` is the index along dim `i`.
    pub formula: Formula,
    /// One per parameter of the formula.
    pub inputs: Vec<Place>,
    /// One per result of the formula.
    pub outputs: Vec<Place>,
}

impl Place {
    /// First element and one past the last one, when they are known at build time.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let (mut low, mut high) = (self.offset.as_int()?, self.offset.as_int()?);
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            let reach = (size.as_int()? - 1).max(0).checked_mul(stride.as_int()?)?;
            if reach < 0 { low += reach } else { high += reach }
        }
        Some((low, high + 1))
    }

    /// Elements from the first to the last one, as a region; needs strides that are not negative.
    pub fn region(&self, access: Access) -> Region {
        let mut last = Expr::Int(1);
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            last = last + (size.clone() - Expr::Int(1)) * stride.clone();
        }
        if self.shape.contains(&Expr::Int(0)) {
            last = Expr::Int(0);
        }
        Region { buffer: self.buffer, offset: self.offset.clone(), len: last, access }
    }
}

impl Work {
    /// The buffers it touches.
    pub fn buffers(&self) -> Vec<BufferId> {
        match self {
            Work::Kernel(kernel) => kernel.regions().iter().map(|(region, _)| region.buffer).collect(),
            Work::Custom(c) => c.operands.iter().chain(&c.results).map(|(region, _)| region.buffer).collect(),
            Work::Loop(l) => l.inputs.iter().chain(&l.outputs).map(|place| place.buffer).collect(),
            Work::Branch { condition: Condition::Data(region), .. } | Work::Load { region, .. } => vec![region.buffer],
            Work::Branch { .. } | Work::Check { .. } | Work::Jump { .. } | Work::Bind { .. } => Vec::new(),
        }
    }
}

impl Kernel {
    /// The regions it reads and writes, in field order.
    pub fn regions(&self) -> Vec<(&Region, bool)> {
        let mut found = Vec::new();
        for (_, field) in &self.fields {
            field.regions(&mut found);
        }
        found
    }
}

impl Field {
    fn regions<'a>(&'a self, found: &mut Vec<(&'a Region, bool)>) {
        match self {
            Field::Read(region) => found.push((region, false)),
            Field::Write { region, .. } => found.push((region, true)),
            Field::Array(fields) | Field::Tuple(_, fields) => fields.iter().for_each(|f| f.regions(found)),
            Field::Struct(_, fields) => fields.iter().for_each(|(_, f)| f.regions(found)),
            Field::Option(Some(field)) => field.regions(found),
            _ => {}
        }
    }
}
