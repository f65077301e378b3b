//! A program as Python shows it: the text of `print(exported_program)`.
//!
//! Takes a [`Program`], gives text; nothing is compiled, so it also shows programs that cannot be. It follows torch 2.15 for
//! archives of every version: what torch keeps as one call with several results, followed by `getitem`s, stands so, and
//! `; x = None` marks the last use of a value.

mod lines;
mod python;

use crate::schema::{GraphSignature, InputSpec, OutputSpec, Program, RangeConstraint};
use std::fmt::Write;

/// The text of `print(exported_program)`.
pub fn print(program: &Program) -> String {
    let names: Vec<String> = program.graph_module.signature.input_specs.iter().map(input_name).collect();
    let class = lines::class("GraphModule", &program.graph_module.graph, Some(&names));
    format!(
        "ExportedProgram:\n{}\nGraph signature:\n{}\nRange constraints: {{{}}}\n",
        indented(&class),
        indented(&signature(&program.graph_module.signature)),
        program.range_constraints.iter().map(range).collect::<Vec<_>>().join(", ")
    )
}

/// Four spaces before every line, also before empty ones.
fn indented(text: &str) -> String {
    text.split('\n').map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn range((expression, bounds): &(String, RangeConstraint)) -> String {
    let bound = |value: Option<i64>, infinite: &str| value.map_or(infinite.to_owned(), |v| v.to_string());
    format!("{expression}: VR[{}, {}]", bound(bounds.min_val, "-int_oo"), bound(bounds.max_val, "int_oo"))
}

fn signature(signature: &GraphSignature) -> String {
    let mut text = "# inputs\n".to_owned();
    for spec in &signature.input_specs {
        let (kind, target) = input_kind(spec);
        line(&mut text, &input_name(spec), kind, target);
        if let InputSpec::Buffer { persistent, .. } = spec {
            let _ = write!(text, " persistent={}", python::bool(*persistent));
        }
        text.push('\n');
    }
    text.push_str("\n# outputs\n");
    for spec in &signature.output_specs {
        let (kind, target) = output_kind(spec);
        // Python prints nothing for the name of a constant.
        line(&mut text, spec.value_name().unwrap_or_default(), kind, target);
        text.push('\n');
    }
    text
}

fn line(text: &mut String, name: &str, kind: &str, target: Option<&str>) {
    let _ = write!(text, "{name}: {kind}");
    if let Some(target) = target {
        let _ = write!(text, " target='{target}'");
    }
}

/// Constants have no name in the graph, but one in the signature.
fn input_name(spec: &InputSpec) -> String {
    match spec {
        InputSpec::ConstantInput { name, .. } => name.clone(),
        spec => spec.value_name().unwrap_or_default().to_owned(),
    }
}

fn input_kind(spec: &InputSpec) -> (&'static str, Option<&str>) {
    match spec {
        InputSpec::UserInput { .. } | InputSpec::ConstantInput { .. } => ("USER_INPUT", None),
        InputSpec::Parameter { parameter_name, .. } => ("PARAMETER", Some(parameter_name)),
        InputSpec::Buffer { buffer_name, .. } => ("BUFFER", Some(buffer_name)),
        InputSpec::TensorConstant { tensor_constant_name, .. } => ("CONSTANT_TENSOR", Some(tensor_constant_name)),
        InputSpec::CustomObj { custom_obj_name, .. } => ("CUSTOM_OBJ", Some(custom_obj_name)),
        InputSpec::Token { .. } => ("TOKEN", None),
    }
}

fn output_kind(spec: &OutputSpec) -> (&'static str, Option<&str>) {
    match spec {
        OutputSpec::UserOutput { .. } => ("USER_OUTPUT", None),
        OutputSpec::LossOutput { .. } => ("LOSS_OUTPUT", None),
        OutputSpec::BufferMutation { buffer_name, .. } => ("BUFFER_MUTATION", Some(buffer_name)),
        OutputSpec::ParameterMutation { parameter_name, .. } => ("PARAMETER_MUTATION", Some(parameter_name)),
        OutputSpec::GradientToParameter { parameter_name, .. } => ("GRADIENT_TO_PARAMETER", Some(parameter_name)),
        OutputSpec::GradientToUserInput { user_input_name, .. } => ("GRADIENT_TO_USER_INPUT", Some(user_input_name)),
        OutputSpec::UserInputMutation { user_input_name, .. } => ("USER_INPUT_MUTATION", Some(user_input_name)),
        OutputSpec::Token { .. } => ("TOKEN", None),
    }
}
