//! The stable text form of a graph, for tests and for people.
//!
//! ```text
//! input x: f32[1, 3, 8, 8]
//! %conv: f32[1, 8, 8, 8] = Conv(..)(%x, %weight)   # net.py:12
//! output %conv
//! ```

use super::{Graph, InputKind, Op, OutputKind};
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            match &input.kind {
                InputKind::Tensor(v) => writeln!(f, "input {}: {}", self.value(*v).name, self.ty(*v))?,
                InputKind::Int(e) => writeln!(f, "input {}: {e}", input.name)?,
                InputKind::Constant(c) => writeln!(f, "input {}: constant {c:?}", input.name)?,
            }
        }
        for state in &self.state {
            writeln!(f, "state {}: {} (%{})", state.name, self.ty(state.read), self.value(state.read).name)?;
        }
        for node in &self.nodes {
            for (i, &v) in node.outputs.iter().enumerate() {
                write!(f, "{}%{}: {}", if i > 0 { ", " } else { "" }, self.value(v).name, self.ty(v))?;
            }
            match &node.op {
                Op::Constant(id) => write!(f, " = Constant({})", self.constants[id.0 as usize].name)?,
                op if !op.graphs().is_empty() => {
                    let (name, details) = match op {
                        Op::Cond { on_size: Some(condition), .. } => ("Cond", format!(" {condition}")),
                        Op::Cond { .. } => ("Cond", String::new()),
                        Op::While { carried, .. } => ("While", format!(" carried {carried}")),
                        Op::Scan { carried, length, .. } => ("Scan", format!(" carried {carried}, length {length}")),
                        _ => ("", String::new()),
                    };
                    writeln!(f, " = {name}{details} {{")?;
                    for inner in op.graphs() {
                        writeln!(f, "{inner}}}, {{")?;
                    }
                    write!(f, "}}")?;
                }
                op => write!(f, " = {op:?}")?,
            }
            let operands: Vec<String> = node.inputs.iter().map(|&v| format!("%{}", self.value(v).name)).collect();
            write!(f, "({})", operands.join(", "))?;
            match &node.origin.source {
                Some(source) => writeln!(f, "   # {source}")?,
                None => writeln!(f)?,
            }
        }
        for guard in &self.guards {
            writeln!(f, "guard {}", guard.condition)?;
        }
        for state in &self.state {
            writeln!(f, "commit {} = %{}", state.name, self.value(state.write).name)?;
        }
        for output in &self.outputs {
            match &output.kind {
                OutputKind::Tensor(v) => writeln!(f, "output %{}", self.value(*v).name)?,
                OutputKind::Number(e) => writeln!(f, "output {e}")?,
                OutputKind::Constant(c) => writeln!(f, "output constant {c:?}")?,
            }
        }
        Ok(())
    }
}
