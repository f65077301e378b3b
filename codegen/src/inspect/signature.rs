//! What the inputs and outputs of a program are, in the two forms in which torch prints it.

use super::python;
use crate::schema::{Argument, ConstantValue, GraphSignature, InputSpec, OutputSpec};
use std::fmt::Write;

/// One line for each input and output: `p_weight: PARAMETER target='weight'`.
pub(super) fn as_list(signature: &GraphSignature) -> String {
    let mut text = "# inputs\n".to_owned();
    for spec in &signature.input_specs {
        let kind = input_kind(spec);
        line(&mut text, input_name(spec), &kind);
        if let InputSpec::Buffer { persistent, .. } = spec {
            let _ = write!(text, " persistent={}", python::bool(*persistent));
        }
        text.push('\n');
    }
    text.push_str("\n# outputs\n");
    for spec in &signature.output_specs {
        // Python prints nothing for the name of a constant.
        line(&mut text, spec.value_name().unwrap_or_default(), &output_kind(spec));
        text.push('\n');
    }
    text
}

/// The `repr` of Python's dataclass, in one line (torch 2.5).
pub(super) fn as_repr(signature: &GraphSignature) -> String {
    let inputs = signature.input_specs.iter().map(|spec| {
        let kind = input_kind(spec);
        let persistent = match spec {
            InputSpec::Buffer { persistent, .. } => python::bool(*persistent),
            _ => "None",
        };
        format!("InputSpec({}, persistent={persistent})", described("InputKind", &kind, &input_argument(spec)))
    });
    let outputs = signature
        .output_specs
        .iter()
        .map(|spec| format!("OutputSpec({})", described("OutputKind", &output_kind(spec), &output_argument(spec))));
    format!(
        "ExportGraphSignature(input_specs=[{}], output_specs=[{}])",
        inputs.collect::<Vec<_>>().join(", "),
        outputs.collect::<Vec<_>>().join(", ")
    )
}

/// Constants have no name in the graph, but one in the signature.
pub(super) fn input_name(spec: &InputSpec) -> &str {
    match spec {
        InputSpec::ConstantInput { name, .. } => name,
        spec => spec.value_name().unwrap_or_default(),
    }
}

/// A member of torch's `InputKind` or `OutputKind` with its number in torch 2.5, and what of the module it stands for.
struct Kind<'a> {
    name: &'static str,
    number: u8,
    target: Option<&'a str>,
}

fn kind<'a>(name: &'static str, number: u8, target: Option<&'a str>) -> Kind<'a> {
    Kind { name, number, target }
}

fn line(text: &mut String, name: &str, kind: &Kind) {
    let _ = write!(text, "{name}: {}", kind.name);
    if let Some(target) = kind.target {
        let _ = write!(text, " target='{target}'");
    }
}

fn described(class: &str, kind: &Kind, argument: &str) -> String {
    let target = kind.target.map_or("None".to_owned(), python::string);
    format!("kind=<{class}.{}: {}>, arg={argument}, target={target}", kind.name, kind.number)
}

fn input_kind(spec: &InputSpec) -> Kind<'_> {
    match spec {
        InputSpec::UserInput { .. } | InputSpec::ConstantInput { .. } => kind("USER_INPUT", 1, None),
        InputSpec::Parameter { parameter_name, .. } => kind("PARAMETER", 2, Some(parameter_name)),
        InputSpec::Buffer { buffer_name, .. } => kind("BUFFER", 3, Some(buffer_name)),
        InputSpec::TensorConstant { tensor_constant_name: name, .. } => kind("CONSTANT_TENSOR", 4, Some(name)),
        InputSpec::CustomObj { custom_obj_name, .. } => kind("CUSTOM_OBJ", 5, Some(custom_obj_name)),
        InputSpec::Token { .. } => kind("TOKEN", 6, None),
    }
}

fn output_kind(spec: &OutputSpec) -> Kind<'_> {
    match spec {
        OutputSpec::UserOutput { .. } => kind("USER_OUTPUT", 1, None),
        OutputSpec::LossOutput { .. } => kind("LOSS_OUTPUT", 2, None),
        OutputSpec::BufferMutation { buffer_name, .. } => kind("BUFFER_MUTATION", 3, Some(buffer_name)),
        OutputSpec::GradientToParameter { parameter_name: name, .. } => kind("GRADIENT_TO_PARAMETER", 4, Some(name)),
        OutputSpec::GradientToUserInput { user_input_name: name, .. } => kind("GRADIENT_TO_USER_INPUT", 5, Some(name)),
        OutputSpec::UserInputMutation { user_input_name, .. } => kind("USER_INPUT_MUTATION", 6, Some(user_input_name)),
        OutputSpec::Token { .. } => kind("TOKEN", 7, None),
        OutputSpec::ParameterMutation { parameter_name, .. } => kind("PARAMETER_MUTATION", 8, Some(parameter_name)),
    }
}

fn input_argument(spec: &InputSpec) -> String {
    match spec {
        InputSpec::ConstantInput { name, value } => {
            let value = match value {
                ConstantValue::None => "None".to_owned(),
                ConstantValue::Int(value) => value.to_string(),
                ConstantValue::Float(value) => python::float(*value),
                ConstantValue::String(text) => python::string(text),
                ConstantValue::Bool(value) => number(*value),
            };
            constant(name, &value)
        }
        InputSpec::UserInput { arg } => argument(arg),
        InputSpec::CustomObj { arg, .. } => argument(&Argument::CustomObj(Box::new(arg.clone()))),
        InputSpec::Token { arg } => named("Token", arg),
        spec => named("Tensor", spec.value_name().unwrap_or_default()),
    }
}

fn output_argument(spec: &OutputSpec) -> String {
    match spec {
        OutputSpec::UserOutput { arg } => argument(arg),
        OutputSpec::Token { arg } => named("Token", arg),
        spec => named("Tensor", spec.value_name().unwrap_or_default()),
    }
}

fn argument(arg: &Argument) -> String {
    let name = arg.names().next().unwrap_or_default();
    match arg {
        Argument::Tensor(name) => named("Tensor", name),
        Argument::SymInt(_) if !name.is_empty() => named("SymInt", name),
        Argument::CustomObj(object) => {
            let class = python::string(&object.class_fqn);
            format!("CustomObjArgument(name={}, class_fqn={class}, fake_val=None)", python::string(name))
        }
        Argument::Bool(value) => constant(name, &number(*value)),
        arg => constant(name, &super::lines::value(arg)),
    }
}

/// torch 2.5 reads a bool back as a number.
fn number(value: bool) -> String {
    u8::from(value).to_string()
}

fn named(class: &str, name: &str) -> String {
    format!("{class}Argument(name={})", python::string(name))
}

fn constant(name: &str, value: &str) -> String {
    format!("ConstantArgument(name={}, value={value})", python::string(name))
}
