//! The program text, object by object: this file follows the order of [`super::program`].

use super::decode::{Decoder, Failed, Fields};
use super::json::{self, Json};
use super::{
    Argument, ArgumentKind, CustomObjArgument, Device, Graph, GraphModule, GraphSignature, InputSpec, Layout,
    ModuleCallEntry, ModuleCallSignature, NamedArgument, Node, OutputSpec, Program, RangeConstraint, ScalarType,
    SchemaVersion, Sym, SymBool, SymExpr, SymFloat, SymInt, TensorMeta, tree,
};
use crate::diag::{Diagnostic, Errors};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, Failed>;

/// torch's own bound on dims.
pub(crate) const MAX_RANK: usize = 64;

/// Reads the program of an archive.
///
/// # Errors
/// No JSON, a format version that is not read, and every value of the wrong form with its path.
pub fn parse(program_text: &str) -> std::result::Result<Program, Errors> {
    let json =
        json::parse(program_text).map_err(|e| Diagnostic::damaged(format!("the program is not valid JSON: {e}")))?;
    let mut decoder = Decoder::new("");
    match decoder.program(json) {
        Ok(program) => decoder.errors.into_result(program),
        Err(Failed) => Err(decoder.errors),
    }
}

/// One row of a weights table (torch's `PayloadMeta`).
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// Member beside the table.
    pub(crate) path_name: String,
    pub(crate) is_param: bool,
    /// The member is a pickle, not a storage.
    pub(crate) use_pickle: bool,
    /// Absent for objects.
    pub(crate) tensor_meta: Option<TensorMeta>,
}

/// Reads a weights table (torch's `PayloadConfig`). `file` names it in messages.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_payloads(text: &str, file: &str) -> std::result::Result<Vec<(String, Payload)>, Errors> {
    let json = json::parse(text).map_err(|e| Diagnostic::damaged(format!("member `{file}` is not valid JSON: {e}")))?;
    let mut decoder = Decoder::new(file);
    let table = decoder
        .object(json)
        .and_then(|mut fields| decoder.field(&mut fields, "config", |d, j| d.entries(j, Decoder::payload_meta)));
    table.map_err(|Failed| decoder.errors)
}

impl Decoder {
    fn payload_meta(&mut self, json: Json<'_>) -> Result<Payload> {
        let fields = &mut self.object(json)?;
        Ok(Payload {
            path_name: self.field(fields, "path_name", Self::text)?,
            is_param: self.field(fields, "is_param", Self::bool)?,
            use_pickle: self.field(fields, "use_pickle", Self::bool)?,
            tensor_meta: self.optional(fields, "tensor_meta", Self::tensor_meta)?,
        })
    }

    fn program(&mut self, json: Json<'_>) -> Result<Program> {
        let fields = &mut self.object(json)?;
        // Before anything else: what follows may mean something different in another version.
        let schema_version = self.field(fields, "schema_version", Self::schema_version)?;
        let torch_version = self.optional(fields, "torch_version", Self::text)?.unwrap_or_default();
        self.check_version(schema_version, &torch_version)?;
        Ok(Program {
            graph_module: self.field(fields, "graph_module", Self::graph_module)?,
            opset_version: self.field(fields, "opset_version", |d, j| d.map(j, Self::int))?,
            range_constraints: self.field(fields, "range_constraints", |d, j| d.entries(j, Self::range_constraint))?,
            schema_version,
            verifiers: self.optional(fields, "verifiers", |d, j| d.list(j, Self::text))?.unwrap_or_default(),
            torch_version,
            guards_code: self.optional(fields, "guards_code", |d, j| d.list(j, Self::text))?.unwrap_or_default(),
        })
    }

    fn schema_version(&mut self, json: Json<'_>) -> Result<SchemaVersion> {
        // Before torch 2.3 the version was a bare number.
        if let Json::Int(major) = json {
            return Ok(SchemaVersion { major, minor: 0 });
        }
        let fields = &mut self.object(json)?;
        Ok(SchemaVersion {
            major: self.field(fields, "major", Self::int)?,
            minor: self.field(fields, "minor", Self::int)?,
        })
    }

    fn check_version(&mut self, version: SchemaVersion, torch_version: &str) -> Result<()> {
        if (7..=8).contains(&version.major) {
            return Ok(());
        }
        let writer =
            if torch_version.is_empty() { String::new() } else { format!(" (written by torch {torch_version})") };
        let message = format!("format version {}.{}{writer} is not one of 7 and 8", version.major, version.minor);
        let help = if version.major < 7 {
            "export the model again with torch 2.5 or later"
        } else {
            "use a newer `exported`, or export the model with an older torch"
        };
        Err(self.fault(Diagnostic::unsupported(message).help(help)))
    }

    /// A bound; an infinite one is none.
    fn range_constraint(&mut self, json: Json<'_>) -> Result<RangeConstraint> {
        let fields = &mut self.object(json)?;
        let min = |d: &mut Self, j| d.bound(j, "-Infinity");
        let max = |d: &mut Self, j| d.bound(j, "Infinity");
        let min_val = self.optional(fields, "min_val", min)?.flatten();
        let max_val = self.optional(fields, "max_val", max)?.flatten();
        match (min_val, max_val) {
            (Some(min), Some(max)) if min > max => {
                Err(self.fault(Diagnostic::damaged(format!("the range from {min} to {max} is empty"))))
            }
            _ => Ok(RangeConstraint { min_val, max_val }),
        }
    }

    fn bound(&mut self, json: Json<'_>, unbounded: &str) -> Result<Option<i64>> {
        match json {
            Json::Text(word) if word == unbounded => Ok(None),
            other => self.int(other).map(Some),
        }
    }

    fn graph_module(&mut self, json: Json<'_>) -> Result<GraphModule> {
        let fields = &mut self.object(json)?;
        let named_tuples =
            self.optional(fields, "treespec_namedtuple_fields", |d, j| d.map(j, Self::named_tuple_def))?;
        let treespec_namedtuple_fields = named_tuples.unwrap_or_default();
        let graph = self.field(fields, "graph", Self::graph)?;
        let signature = self.field(fields, "signature", Self::graph_signature)?;
        self.check_signature(&graph, &signature)?;
        let named = &treespec_namedtuple_fields;
        let entry = |d: &mut Self, j: Json<'_>| d.module_call_entry(j, named);
        Ok(GraphModule {
            graph,
            signature,
            module_call_graph: self.field(fields, "module_call_graph", |d, j| d.list(j, entry))?,
            metadata: self.optional(fields, "metadata", |d, j| d.map(j, Self::text))?.unwrap_or_default(),
            treespec_namedtuple_fields,
        })
    }

    /// The signature describes the inputs and outputs of the graph one by one.
    fn check_signature(&mut self, graph: &Graph, signature: &GraphSignature) -> Result<()> {
        let inputs: Vec<_> = signature.input_specs.iter().map(InputSpec::value_name).collect();
        let outputs: Vec<_> = signature.output_specs.iter().map(OutputSpec::value_name).collect();
        let mut result = Ok(());
        for (values, specs, what) in [(&graph.inputs, inputs, "input"), (&graph.outputs, outputs, "output")] {
            if values.len() != specs.len() {
                let (values, specs) = (values.len(), specs.len());
                let message = format!("the graph has {values} {what}s, but the signature describes {specs}");
                result = Err(self.fault(Diagnostic::damaged(message)));
                continue;
            }
            for (i, (value, spec)) in values.iter().zip(specs).enumerate() {
                let value = value.names().next();
                if let (Some(value), Some(spec)) = (value, spec)
                    && value != spec
                {
                    let message = format!("{what} {i} of the graph is `{value}`, but the signature describes `{spec}`");
                    result = Err(self.fault(Diagnostic::damaged(message)));
                }
            }
        }
        let mut names: Vec<_> = graph.inputs.iter().flat_map(Argument::names).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            result = Err(self.fault(Diagnostic::damaged(format!("two inputs of the graph are named `{}`", pair[0]))));
        }
        result
    }

    fn named_tuple_def(&mut self, json: Json<'_>) -> Result<Vec<String>> {
        let fields = &mut self.object(json)?;
        self.field(fields, "field_names", |d, j| d.list(j, Self::text))
    }

    /// Also the subgraphs of higher-order operators.
    pub(super) fn graph(&mut self, json: Json<'_>) -> Result<Graph> {
        let fields = &mut self.object(json)?;
        let nodes = self.field(fields, "nodes", |d, j| d.list(j, Self::node));
        let single = self.optional(fields, "is_single_tensor_return", Self::bool)?;
        let custom = self.optional(fields, "custom_obj_values", |d, j| d.map(j, Self::custom_obj))?;
        let floats = self.optional(fields, "sym_float_values", |d, j| d.map(j, Self::sym_float))?;
        Ok(Graph {
            inputs: self.field(fields, "inputs", |d, j| d.list(j, Self::argument))?,
            outputs: self.field(fields, "outputs", |d, j| d.list(j, Self::argument))?,
            tensor_values: self.field(fields, "tensor_values", |d, j| d.map(j, Self::tensor_meta))?,
            sym_int_values: self.field(fields, "sym_int_values", |d, j| d.map(j, Self::sym_int))?,
            sym_bool_values: self.field(fields, "sym_bool_values", |d, j| d.map(j, Self::sym_bool))?,
            sym_float_values: floats.unwrap_or_default(),
            is_single_tensor_return: single.unwrap_or_default(),
            custom_obj_values: custom.unwrap_or_default(),
            nodes: nodes?,
        })
    }

    fn node(&mut self, json: Json<'_>) -> Result<Node> {
        let fields = &mut self.object(json)?;
        Ok(Node {
            target: self.field(fields, "target", Self::text)?,
            inputs: self.field(fields, "inputs", |d, j| d.list(j, Self::named_argument))?,
            outputs: self.field(fields, "outputs", |d, j| d.list(j, Self::argument))?,
            metadata: self.field(fields, "metadata", |d, j| d.map(j, Self::text))?,
            is_hop_single_tensor_return: self.optional(fields, "is_hop_single_tensor_return", Self::bool)?,
            name: self.optional(fields, "name", Self::text)?,
        })
    }

    fn named_argument(&mut self, json: Json<'_>) -> Result<NamedArgument> {
        let kind = |code| match code {
            0 => Some(ArgumentKind::Unknown),
            1 => Some(ArgumentKind::Positional),
            2 => Some(ArgumentKind::Keyword),
            _ => None,
        };
        let fields = &mut self.object(json)?;
        Ok(NamedArgument {
            name: self.field(fields, "name", Self::text)?,
            arg: self.field(fields, "arg", Self::argument)?,
            kind: self.optional(fields, "kind", |d, j| d.code(j, "argument kind", kind))?,
        })
    }

    /// torch's `TensorArgument` and `TokenArgument`: an object around a name.
    pub(super) fn name(&mut self, json: Json<'_>) -> Result<String> {
        let fields = &mut self.object(json)?;
        self.field(fields, "name", Self::text)
    }

    pub(super) fn custom_obj(&mut self, json: Json<'_>) -> Result<CustomObjArgument> {
        let fields = &mut self.object(json)?;
        Ok(CustomObjArgument {
            name: self.field(fields, "name", Self::text)?,
            class_fqn: self.field(fields, "class_fqn", Self::text)?,
        })
    }

    pub(super) fn scalar_type(&mut self, json: Json<'_>) -> Result<ScalarType> {
        self.code(json, "element type", ScalarType::from_code)
    }

    pub(super) fn device(&mut self, json: Json<'_>) -> Result<Device> {
        let fields = &mut self.object(json)?;
        Ok(Device { kind: self.field(fields, "type", Self::text)?, index: self.optional(fields, "index", Self::int)? })
    }

    fn tensor_meta(&mut self, json: Json<'_>) -> Result<TensorMeta> {
        let fields = &mut self.object(json)?;
        let sizes = self.field(fields, "sizes", |d, j| d.list(j, Self::sym_int))?;
        if sizes.len() > MAX_RANK {
            let message = format!("a tensor of {} dims, but torch has at most {MAX_RANK}", sizes.len());
            return Err(self.fault(Diagnostic::damaged(message)));
        }
        Ok(TensorMeta {
            dtype: self.field(fields, "dtype", Self::scalar_type)?,
            sizes,
            requires_grad: self.field(fields, "requires_grad", Self::bool)?,
            device: self.field(fields, "device", Self::device)?,
            strides: self.field(fields, "strides", |d, j| d.list(j, Self::sym_int))?,
            storage_offset: self.field(fields, "storage_offset", Self::sym_int)?,
            layout: self.field(fields, "layout", |d, j| d.code(j, "layout", Layout::from_code))?,
        })
    }

    fn sym_int(&mut self, json: Json<'_>) -> Result<SymInt> {
        self.sym(json, "as_int", Self::int)
    }

    fn sym_float(&mut self, json: Json<'_>) -> Result<SymFloat> {
        self.sym(json, "as_float", Self::float)
    }

    fn sym_bool(&mut self, json: Json<'_>) -> Result<SymBool> {
        self.sym(json, "as_bool", Self::bool)
    }

    fn sym<'a, T>(
        &mut self,
        json: Json<'a>,
        value_tag: &str,
        read: fn(&mut Self, Json<'a>) -> Result<T>,
    ) -> Result<Sym<T>> {
        let (tag, payload) = self.union(json)?;
        self.payload(&tag, |d| match &*tag {
            "as_expr" => d.sym_expr(payload).map(Sym::Expr),
            tag if tag == value_tag => read(d, payload).map(Sym::Value),
            _ => d.unknown_tag("kind of symbolic value", &tag),
        })
    }

    fn sym_expr(&mut self, json: Json<'_>) -> Result<SymExpr> {
        let fields = &mut self.object(json)?;
        Ok(SymExpr {
            expr_str: self.field(fields, "expr_str", Self::text)?,
            hint: self.optional(fields, "hint", Self::constant_value)?,
        })
    }

    fn module_call_entry(&mut self, json: Json<'_>, named: &BTreeMap<String, Vec<String>>) -> Result<ModuleCallEntry> {
        let fields = &mut self.object(json)?;
        Ok(ModuleCallEntry {
            fqn: self.field(fields, "fqn", Self::text)?,
            signature: self.optional(fields, "signature", |d, j| d.module_call_signature(j, named))?,
        })
    }

    fn module_call_signature(
        &mut self,
        json: Json<'_>,
        named: &BTreeMap<String, Vec<String>>,
    ) -> Result<ModuleCallSignature> {
        let fields = &mut self.object(json)?;
        let spec = |d: &mut Self, j: Json<'_>| {
            let text = d.text(j)?;
            tree::parse(&text, named).map_err(|fault| d.fault(fault))
        };
        Ok(ModuleCallSignature {
            inputs: self.field(fields, "inputs", |d, j| d.list(j, Self::argument))?,
            outputs: self.field(fields, "outputs", |d, j| d.list(j, Self::argument))?,
            in_spec: self.field(fields, "in_spec", spec)?,
            out_spec: self.field(fields, "out_spec", spec)?,
            forward_arg_names: self.optional(fields, "forward_arg_names", |d, j| d.list(j, Self::text))?,
        })
    }

    /// A key whose value is an object around a name.
    pub(super) fn name_field(&mut self, fields: &mut Fields<'_>, key: &str) -> Result<String> {
        self.field(fields, key, Self::name)
    }
}
