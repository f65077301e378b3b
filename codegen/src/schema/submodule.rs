//! A module of a program as a program of its own: what `preserve_module_call_signature` is for.
//!
//! The archive says which values go into a call of the module and which come out. In between stand the nodes whose module
//! stack names that call, and what they need of the rest: parameters, buffers, sizes, constants. An argument of the caller
//! that gets there by another way is an error, as then the module alone means nothing.

use super::{
    Argument, ArgumentKind, ConstantValue, InputSpec, ModuleCallEntry, ModuleCallSignature, NameOr, NamedArgument,
    Node, OutputSpec, Program, Sym,
};
use crate::diag::{Diagnostic, Errors};
use crate::ops::{Alias, Schema};
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, Diagnostic>;

/// The program of the call `fqn` (`encoder`, or `encoder@1` for the second call of one module).
///
/// # Errors
/// A module whose signature was not preserved, with those that are; one that cannot be cut out.
pub fn submodule(program: &Program, fqn: &str) -> std::result::Result<Program, Errors> {
    let calls = &program.graph_module.module_call_graph;
    let call = calls.iter().find(|call| call.fqn == fqn && !fqn.is_empty());
    let Some(signature) = call.and_then(|call| call.signature.as_ref()) else {
        let preserved = calls.iter().filter(|call| call.signature.is_some() && !call.fqn.is_empty());
        let names: Vec<String> = preserved.map(|call| format!("`{}`", call.fqn)).collect();
        let have = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!("the archive does not say how the module `{fqn}` is called; it does for {have}");
        let help = format!("export with `preserve_module_call_signature=(\"{fqn}\",)`");
        return Err(Diagnostic::violated(message).help(help).into());
    };
    let mut cut = Cut::new(program, fqn, signature)?;
    cut.nodes()?;
    cut.assertions();
    Ok(cut.program(signature)?)
}

struct Cut<'a> {
    program: &'a Program,
    fqn: &'a str,
    /// Values that are passed to the module.
    passed: BTreeSet<&'a str>,
    signature: &'a ModuleCallSignature,
    makers: BTreeMap<&'a str, usize>,
    kept: Kept<'a>,
}

/// What the module needs; all of it is found before it is built.
#[derive(Clone, Default)]
struct Kept<'a> {
    /// By place in the program.
    nodes: BTreeMap<usize, Node>,
    placeholders: BTreeSet<&'a str>,
}

impl<'a> Cut<'a> {
    fn new(program: &'a Program, fqn: &'a str, signature: &'a ModuleCallSignature) -> Result<Self> {
        let graph = &program.graph_module.graph;
        let mut passed = BTreeSet::new();
        for name in signature.inputs.iter().flat_map(Argument::names) {
            if !passed.insert(name) {
                let message = format!("the call of `{fqn}` passes `{name}` twice, so that its arguments are not apart");
                return Err(Diagnostic::unsupported(message));
            }
        }
        let symbolic = passed.iter().any(|name| {
            let sizes = graph.tensor_values.get(*name).map(|meta| meta.sizes.as_slice()).unwrap_or_default();
            sizes.iter().any(|size| matches!(size, Sym::Expr(_)))
        });
        if symbolic && !program.guards_code.is_empty() {
            let message = format!("the program has guards on its own arguments, which `{fqn}` alone cannot check");
            return Err(Diagnostic::unsupported(message).help("export the module by itself"));
        }
        let made = graph.nodes.iter().enumerate();
        let makers =
            made.flat_map(|(i, node)| node.outputs.iter().flat_map(Argument::names).map(move |name| (name, i)));
        Ok(Cut { program, fqn, passed, signature, makers: makers.collect(), kept: Kept::default() })
    }

    /// The nodes of the call, and all that they and the results need.
    fn nodes(&mut self) -> Result<()> {
        let program = self.program;
        let mut kept = Kept::default();
        for (i, node) in program.graph_module.graph.nodes.iter().enumerate() {
            if belongs(node, self.fqn) {
                kept.nodes.insert(i, node.clone());
            }
        }
        let results = self.signature.outputs.iter().flat_map(Argument::names).collect();
        let inside = kept.nodes.keys().flat_map(|&i| reads(&program.graph_module.graph.nodes[i])).collect();
        self.require(results, &mut kept)?;
        self.require(inside, &mut kept)?;
        self.kept = kept;
        Ok(())
    }

    /// Assertions name no module; those on what the module computes or gets belong to it.
    fn assertions(&mut self) {
        const TARGETS: [&str; 5] = [
            "_assert_scalar",
            "sym_constrain_range",
            "sym_constrain_range_for_size",
            "_assert_async",
            "_assert_tensor_metadata",
        ];
        for (i, node) in self.program.graph_module.graph.nodes.iter().enumerate() {
            let name = node.target.strip_prefix("torch.ops.aten.").and_then(|rest| rest.split('.').next());
            if !name.is_some_and(|name| TARGETS.contains(&name)) {
                continue;
            }
            let mut kept = self.kept.clone();
            if self.require(reads(node).collect(), &mut kept).is_ok() {
                kept.nodes.insert(i, node.clone());
                self.kept = kept;
            }
        }
    }

    /// Adds what makes these values.
    fn require(&self, mut names: Vec<&'a str>, kept: &mut Kept<'a>) -> Result<()> {
        while let Some(name) = names.pop() {
            if self.passed.contains(name) {
                continue;
            }
            let Some(&maker) = self.makers.get(name) else {
                if !self.is_stored(name) {
                    let message = format!("the module `{}` reads `{name}`, which is not passed to it", self.fqn);
                    return Err(Diagnostic::unsupported(message).help("export the module by itself"));
                }
                kept.placeholders.insert(name);
                continue;
            };
            if kept.nodes.contains_key(&maker) {
                continue;
            }
            let node = &self.program.graph_module.graph.nodes[maker];
            let node = self.size(node, name).or_else(|| other_name(node)).unwrap_or_else(|| node.clone());
            let original = &self.program.graph_module.graph.nodes[maker];
            names.extend(reads(original).filter(|read| reads(&node).any(|name| name == *read)));
            kept.nodes.insert(maker, node);
        }
        Ok(())
    }

    fn is_stored(&self, name: &str) -> bool {
        let specs = &self.program.graph_module.signature.input_specs;
        specs.iter().any(|spec| !is_caller(spec) && spec.value_name() == Some(name))
    }

    /// A size of the caller's argument that is also one of a tensor passed to the module: asked of that.
    fn size(&self, node: &Node, name: &str) -> Option<Node> {
        let graph = &self.program.graph_module.graph;
        let Sym::Expr(wanted) = graph.sym_int_values.get(name)? else { return None };
        self.passed.iter().find_map(|passed| {
            let sizes = &graph.tensor_values.get(*passed)?.sizes;
            let same = |size: &Sym<i64>| matches!(size, Sym::Expr(e) if e.expr_str == wanted.expr_str);
            let dim = i64::try_from(sizes.iter().position(same)?).ok()?;
            let argument =
                |name: &str, arg| NamedArgument { name: name.into(), arg, kind: Some(ArgumentKind::Positional) };
            let inputs =
                vec![argument("self", Argument::Tensor((*passed).to_owned())), argument("dim", Argument::Int(dim))];
            let outputs = vec![Argument::SymInt(NameOr::Name(name.to_owned()))];
            Some(Node { target: "torch.ops.aten.sym_size.int".into(), inputs, outputs, ..node.clone() })
        })
    }

    fn program(self, signature: &ModuleCallSignature) -> Result<Program> {
        let mut program = self.program.clone();
        let module = &mut program.graph_module;
        let old = std::mem::take(&mut module.signature);
        let (old_inputs, old_outputs) =
            (std::mem::take(&mut module.graph.inputs), std::mem::take(&mut module.graph.outputs));
        for (spec, arg) in old.input_specs.into_iter().zip(old_inputs) {
            if spec.value_name().is_some_and(|name| self.kept.placeholders.contains(name)) {
                module.signature.input_specs.push(spec);
                module.graph.inputs.push(arg);
            }
        }
        for (i, arg) in signature.inputs.iter().enumerate() {
            module.signature.input_specs.push(passed(arg, i)?);
            module.graph.inputs.push(arg.clone());
        }
        for (spec, arg) in old.output_specs.into_iter().zip(old_outputs) {
            if self.writes(&spec)? {
                module.signature.output_specs.push(spec);
                module.graph.outputs.push(arg);
            }
        }
        for arg in &signature.outputs {
            module.signature.output_specs.push(OutputSpec::UserOutput { arg: arg.clone() });
            module.graph.outputs.push(arg.clone());
        }
        module.graph.nodes = self.kept.nodes.into_values().collect();
        // The archive does not say what the module calls its positional arguments.
        let places = signature.in_spec.children().first().map_or(0, |args| args.children().len());
        let names = signature.forward_arg_names.clone();
        let names = names.unwrap_or_else(|| (0..places).map(|i| format!("args_{i}")).collect());
        let root = ModuleCallSignature {
            inputs: Vec::new(),
            outputs: Vec::new(),
            forward_arg_names: Some(names),
            ..signature.clone()
        };
        module.module_call_graph = vec![ModuleCallEntry { fqn: String::new(), signature: Some(root) }];
        program.guards_code.clear();
        Ok(program)
    }

    /// Whether an output is the module's own change of a buffer.
    fn writes(&self, spec: &OutputSpec) -> Result<bool> {
        let OutputSpec::BufferMutation { arg, buffer_name } = spec else { return Ok(false) };
        if self.makers.get(arg.as_str()).is_some_and(|maker| self.kept.nodes.contains_key(maker)) {
            return Ok(true);
        }
        let specs = &self.program.graph_module.signature.input_specs;
        let read = specs.iter().any(|spec| match spec {
            InputSpec::Buffer { arg, buffer_name: name, .. } => {
                name == buffer_name && self.kept.placeholders.contains(arg.as_str())
            }
            _ => false,
        });
        if read {
            let message = format!("`{}` reads the buffer `{buffer_name}`, which another call changes last", self.fqn);
            return Err(Diagnostic::unsupported(message).help("keep the call of the module that changes it last"));
        }
        Ok(false)
    }
}

/// The spec of what is passed to the module.
fn passed(arg: &Argument, index: usize) -> Result<InputSpec> {
    let value = match arg {
        Argument::None => ConstantValue::None,
        Argument::Int(value) => ConstantValue::Int(*value),
        Argument::Float(value) => ConstantValue::Float(*value),
        Argument::Bool(value) => ConstantValue::Bool(*value),
        Argument::String(text) => ConstantValue::String(text.clone()),
        Argument::SymInt(NameOr::Value(value)) => ConstantValue::Int(*value),
        arg => return Ok(InputSpec::UserInput { arg: arg.clone() }),
    };
    Ok(InputSpec::ConstantInput { name: format!("constant_{index}"), value })
}

fn is_caller(spec: &InputSpec) -> bool {
    matches!(spec, InputSpec::UserInput { .. } | InputSpec::ConstantInput { .. })
}

fn reads(node: &Node) -> impl Iterator<Item = &str> {
    node.inputs.iter().flat_map(|input| input.arg.names())
}

/// The result of an in-place operator elsewhere is another name of what it changed: the change itself is not the module's.
fn other_name(node: &Node) -> Option<Node> {
    let target = node.target.strip_prefix("torch.ops.")?;
    let schema = Schema::find(target)?;
    let written = schema.arguments.first().filter(|argument| argument.alias == Alias::Write)?;
    let changed = node.inputs.iter().find(|input| input.name == written.name)?;
    let inputs = vec![changed.clone()];
    Some(Node { target: "torch.ops.aten.alias.default".into(), inputs, ..node.clone() })
}

/// Whether a node was traced within this call: `key,path,class` of its module stack, where the key of a second call ends in `@1`.
fn belongs(node: &Node, fqn: &str) -> bool {
    let Some(stack) = node.metadata.get("nn_module_stack") else { return false };
    let number = |text: &str| text.rsplit_once('@').map(|(_, number)| number.to_owned());
    let path = fqn.split('@').next().unwrap_or(fqn);
    stack.split(';').any(|entry| {
        let mut parts = entry.splitn(3, ',');
        let (key, found) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let found = found.trim_start_matches("L['self']").trim_start_matches('.');
        found == path && number(key) == number(fqn)
    })
}
