//! The tagged unions of the program: arguments, constants, input and output specs.

use super::decode::{Decoder, Failed};
use super::json::Json;
use super::{
    Argument, ConstantValue, GraphArgument, GraphSignature, InputSpec, Layout, MemoryFormat, NameOr, OutputSpec,
};

type Result<T> = std::result::Result<T, Failed>;

impl Decoder {
    pub(super) fn argument(&mut self, json: Json<'_>) -> Result<Argument> {
        let (tag, payload) = self.union(json)?;
        self.payload(&tag, |d| d.argument_payload(&tag, payload))
    }

    /// The tags of torch's `Argument` up to format version 8.20.
    fn argument_payload(&mut self, tag: &str, j: Json<'_>) -> Result<Argument> {
        Ok(match tag {
            // `true`, or `[]` in torch 2.5: nothing to learn from either.
            "as_none" => Argument::None,
            "as_tensor" => Argument::Tensor(self.name(j)?),
            "as_tensors" => Argument::Tensors(self.list(j, Self::name)?),
            "as_optional_tensor" => Argument::OptionalTensor(self.optional_name(j)?),
            "as_optional_tensors" => Argument::OptionalTensors(self.list(j, Self::optional_name)?),
            "as_nested_tensors" => Argument::NestedTensors(self.list(j, |d, j| d.list(j, Self::name))?),
            // torch 2.5 files the bool of a specialized input under `as_int`.
            "as_int" => match j {
                Json::Bool(value) => Argument::Bool(value),
                j => Argument::Int(self.int(j)?),
            },
            "as_ints" => Argument::Ints(self.list(j, Self::int)?),
            "as_int_lists" => Argument::IntLists(self.list(j, |d, j| d.list(j, Self::int))?),
            "as_float" => Argument::Float(self.float(j)?),
            "as_floats" => Argument::Floats(self.list(j, Self::float)?),
            "as_float_lists" => Argument::FloatLists(self.list(j, |d, j| d.list(j, Self::float))?),
            "as_complex" => self.complex(j)?,
            "as_string" => Argument::String(self.text(j)?),
            "as_strings" => Argument::Strings(self.list(j, Self::text)?),
            "as_bool" => Argument::Bool(self.bool(j)?),
            "as_bools" => Argument::Bools(self.list(j, Self::bool)?),
            "as_sym_int" => Argument::SymInt(self.name_or(j, "as_int", Self::int)?),
            "as_sym_ints" => Argument::SymInts(self.list(j, |d, j| d.name_or(j, "as_int", Self::int))?),
            "as_sym_float" => Argument::SymFloat(self.name_or(j, "as_float", Self::float)?),
            "as_sym_floats" => Argument::SymFloats(self.list(j, |d, j| d.name_or(j, "as_float", Self::float))?),
            "as_sym_bool" => Argument::SymBool(self.name_or(j, "as_bool", Self::bool)?),
            "as_sym_bools" => Argument::SymBools(self.list(j, |d, j| d.name_or(j, "as_bool", Self::bool))?),
            "as_scalar_type" => Argument::ScalarType(self.scalar_type(j)?),
            "as_memory_format" => Argument::MemoryFormat(self.code(j, "memory format", MemoryFormat::from_code)?),
            "as_layout" => Argument::Layout(self.code(j, "layout", Layout::from_code)?),
            "as_device" => Argument::Device(self.device(j)?),
            "as_graph" => Argument::Graph(Box::new(self.graph_argument(j)?)),
            "as_custom_obj" => Argument::CustomObj(Box::new(self.custom_obj(j)?)),
            "as_operator" => Argument::Operator(self.text(j)?),
            "as_string_to_argument" => Argument::StringToArgument(self.map(j, Self::argument)?),
            _ => return self.unknown_tag("kind of argument", tag),
        })
    }

    fn optional_name(&mut self, json: Json<'_>) -> Result<Option<String>> {
        let (tag, payload) = self.union(json)?;
        match &*tag {
            "as_tensor" => self.payload(&tag, |d| d.name(payload)).map(Some),
            "as_none" => Ok(None),
            _ => self.unknown_tag("kind of optional tensor", &tag),
        }
    }

    fn name_or<'a, T>(
        &mut self,
        json: Json<'a>,
        value_tag: &str,
        read: fn(&mut Self, Json<'a>) -> Result<T>,
    ) -> Result<NameOr<T>> {
        let (tag, payload) = self.union(json)?;
        self.payload(&tag, |d| match &*tag {
            "as_name" => d.text(payload).map(NameOr::Name),
            tag if tag == value_tag => read(d, payload).map(NameOr::Value),
            _ => d.unknown_tag("kind of symbolic argument", &tag),
        })
    }

    fn complex(&mut self, json: Json<'_>) -> Result<Argument> {
        let fields = &mut self.object(json)?;
        Ok(Argument::Complex {
            real: self.field(fields, "real", Self::float)?,
            imag: self.field(fields, "imag", Self::float)?,
        })
    }

    fn graph_argument(&mut self, json: Json<'_>) -> Result<GraphArgument> {
        let fields = &mut self.object(json)?;
        Ok(GraphArgument {
            name: self.field(fields, "name", Self::text)?,
            graph: self.field(fields, "graph", Self::graph)?,
        })
    }

    pub(super) fn constant_value(&mut self, json: Json<'_>) -> Result<ConstantValue> {
        let (tag, payload) = self.union(json)?;
        self.payload(&tag, |d| match (&*tag, payload) {
            ("as_none", _) => Ok(ConstantValue::None),
            ("as_bool", j) => d.bool(j).map(ConstantValue::Bool),
            // torch 2.5 files a bool under `as_int`.
            ("as_int", Json::Bool(value)) => Ok(ConstantValue::Bool(value)),
            ("as_int", j) => d.int(j).map(ConstantValue::Int),
            ("as_float", j) => d.float(j).map(ConstantValue::Float),
            ("as_string", j) => d.text(j).map(ConstantValue::String),
            _ => d.unknown_tag("kind of constant", &tag),
        })
    }

    pub(super) fn graph_signature(&mut self, json: Json<'_>) -> Result<GraphSignature> {
        let fields = &mut self.object(json)?;
        Ok(GraphSignature {
            input_specs: self.field(fields, "input_specs", |d, j| d.list(j, Self::input_spec))?,
            output_specs: self.field(fields, "output_specs", |d, j| d.list(j, Self::output_spec))?,
        })
    }

    fn input_spec(&mut self, json: Json<'_>) -> Result<InputSpec> {
        let (tag, payload) = self.union(json)?;
        self.payload(&tag, |d| {
            let f = &mut d.object(payload)?;
            Ok(match &*tag {
                "user_input" => InputSpec::UserInput { arg: d.field(f, "arg", Self::argument)? },
                "parameter" => InputSpec::Parameter {
                    arg: d.name_field(f, "arg")?,
                    parameter_name: d.field(f, "parameter_name", Self::text)?,
                },
                "buffer" => InputSpec::Buffer {
                    arg: d.name_field(f, "arg")?,
                    buffer_name: d.field(f, "buffer_name", Self::text)?,
                    persistent: d.field(f, "persistent", Self::bool)?,
                },
                "tensor_constant" => InputSpec::TensorConstant {
                    arg: d.name_field(f, "arg")?,
                    tensor_constant_name: d.field(f, "tensor_constant_name", Self::text)?,
                },
                "custom_obj" => InputSpec::CustomObj {
                    arg: d.field(f, "arg", Self::custom_obj)?,
                    custom_obj_name: d.field(f, "custom_obj_name", Self::text)?,
                },
                "token" => InputSpec::Token { arg: d.name_field(f, "arg")? },
                "constant_input" => InputSpec::ConstantInput {
                    name: d.field(f, "name", Self::text)?,
                    value: d.field(f, "value", Self::constant_value)?,
                },
                _ => return d.unknown_tag("kind of input", &tag),
            })
        })
    }

    fn output_spec(&mut self, json: Json<'_>) -> Result<OutputSpec> {
        let (tag, payload) = self.union(json)?;
        self.payload(&tag, |d| {
            let f = &mut d.object(payload)?;
            let mut pair = |d: &mut Self, key| Ok((d.name_field(f, "arg")?, d.field(f, key, Self::text)?));
            Ok(match &*tag {
                "user_output" => OutputSpec::UserOutput { arg: d.field(f, "arg", Self::argument)? },
                "loss_output" => OutputSpec::LossOutput { arg: d.name_field(f, "arg")? },
                "token" => OutputSpec::Token { arg: d.name_field(f, "arg")? },
                "buffer_mutation" => {
                    let (arg, buffer_name) = pair(d, "buffer_name")?;
                    OutputSpec::BufferMutation { arg, buffer_name }
                }
                "parameter_mutation" => {
                    let (arg, parameter_name) = pair(d, "parameter_name")?;
                    OutputSpec::ParameterMutation { arg, parameter_name }
                }
                "gradient_to_parameter" => {
                    let (arg, parameter_name) = pair(d, "parameter_name")?;
                    OutputSpec::GradientToParameter { arg, parameter_name }
                }
                "gradient_to_user_input" => {
                    let (arg, user_input_name) = pair(d, "user_input_name")?;
                    OutputSpec::GradientToUserInput { arg, user_input_name }
                }
                "user_input_mutation" => {
                    let (arg, user_input_name) = pair(d, "user_input_name")?;
                    OutputSpec::UserInputMutation { arg, user_input_name }
                }
                _ => return d.unknown_tag("kind of output", &tag),
            })
        })
    }
}
