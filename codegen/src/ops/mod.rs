//! The operator table: one row per ATen overload, from which import, the supported-operators document and the coverage
//! test come.
//!
//! A row names the overload and the rule that says it in the primitive operations of [`crate::ir`]. Argument names,
//! defaults and aliasing are torch's ([`Schema`]); in-place variants (`add_`) have no rows, `import` runs the functional
//! row and writes the result back.

mod attention;
mod backward;
mod batch_norm;
mod calculus;
mod conv;
mod grid;
mod index;
mod join;
mod loss;
mod margin;
mod matmul;
mod norm;
mod order;
pub mod pointwise;
mod pool;
mod products;
mod quantile;
mod quantized;
mod rearrange;
mod recurrent;
mod reduce;
mod resample;
mod scatter;
mod schema;
mod strided;
mod view;

pub use schema::{Alias, Schema, SchemaArgument, core_targets, pointwise_targets};

use crate::diag::Diagnostic;
use crate::import::Call;
use crate::ir::{ExprId, Formula, ValueId};
use exported_runtime::DType;

/// One supported operator overload.
#[derive(Clone, Copy)]
pub struct Row {
    /// Overload without `torch.ops.` (`aten.conv2d.default`).
    pub target: &'static str,
    /// Says it in primitive operations.
    pub rule: Rule,
    /// What a reader of the supported-operators document must know (restrictions, looser bounds); often empty.
    pub note: &'static str,
}

impl Row {
    /// The row with a note.
    const fn noted(self, note: &'static str) -> Row {
        Row { note, ..self }
    }
}

/// A row without a note.
const fn row(target: &'static str, rule: Rule) -> Row {
    Row { target, rule, note: "" }
}

/// Builds the graph nodes of one call; gives its results in schema order.
pub type Rule = fn(&mut Call<'_>) -> Result<Outs, Diagnostic>;

/// Results of a call.
pub type Outs = Vec<Out>;

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// A tensor.
    Tensor(ValueId),
    /// A list of tensors (`split`).
    Tensors(Vec<ValueId>),
    /// Not produced (an undefined tensor).
    None,
    /// No result: what the operator writes to the argument of this name, although it does not return it.
    Written(&'static str, ValueId),
}

/// The type a dtype is computed in.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::Bf16 => DType::F32,
        other => other,
    }
}

/// The results of a rule with a single tensor.
///
/// # Errors
/// None of its own; the type fits rules.
pub fn one(value: ValueId) -> Result<Outs, Diagnostic> {
    Ok(vec![Out::Tensor(value)])
}

/// A pointwise node whose formula is built from its operands' elements.
fn map(
    call: &mut Call<'_>,
    inputs: &[ValueId],
    build: impl FnOnce(&mut Formula, &[ExprId]) -> ExprId,
) -> Result<ValueId, Diagnostic> {
    let dtypes: Vec<_> = inputs.iter().map(|&v| call.dtype_of(v)).collect();
    let mut formula = Formula::new(&dtypes);
    let params: Vec<ExprId> = (0..inputs.len()).map(|i| formula.param(i)).collect();
    let result = build(&mut formula, &params);
    formula.results.push(result);
    call.pointwise(formula, inputs)
}

/// All rows, by family.
pub const TABLES: &[&[Row]] = &[
    batch_norm::ROWS,
    conv::ROWS,
    attention::ROWS,
    backward::ROWS,
    calculus::ROWS,
    grid::ROWS,
    index::ROWS,
    join::ROWS,
    loss::ROWS,
    margin::ROWS,
    matmul::ROWS,
    norm::ROWS,
    order::ROWS,
    pointwise::ACTIVATIONS,
    pointwise::ARITHMETIC,
    pointwise::COMPARISONS,
    pointwise::PREDICATES,
    pointwise::CREATION,
    pointwise::FUNCTIONS,
    pointwise::MORE_FUNCTIONS,
    pointwise::SPECIAL,
    pointwise::MORE_SPECIAL,
    pool::ROWS,
    products::ROWS,
    quantile::ROWS,
    quantized::ROWS,
    recurrent::ROWS,
    reduce::ROWS,
    resample::ROWS,
    rearrange::ROWS,
    scatter::ROWS,
    strided::ROWS,
    view::ROWS,
];

/// The row of a target without `torch.ops.`.
pub fn find(target: &str) -> Option<&'static Row> {
    TABLES.iter().flat_map(|t| t.iter()).find(|r| r.target == target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_schema_and_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        for row in TABLES.iter().flat_map(|t| t.iter()) {
            assert!(seen.insert(row.target), "`{}` stands twice", row.target);
            assert!(Schema::find(row.target).is_some(), "`{}` has no schema", row.target);
        }
    }
}
