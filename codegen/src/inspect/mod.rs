//! A program as Python shows it: the text of `print(exported_program)`.
//!
//! Takes a [`Program`], gives text; nothing is compiled, so it also shows programs that cannot be. What torch prints differs
//! between its releases, and an archive is mostly read by the release that wrote it: the text is that release's (`Style`).

mod archive;
mod lines;
mod python;
mod signature;

pub use archive::archive;

use crate::schema::{Program, RangeConstraint, SchemaVersion};

/// The text of `print(exported_program)`.
pub fn print(program: &Program) -> String {
    let style = Style::of(program.schema_version);
    let names: Vec<String> =
        program.graph_module.signature.input_specs.iter().map(|spec| signature::input_name(spec).to_owned()).collect();
    let class = lines::class(style, "GraphModule", &program.graph_module.graph, Some(&names));
    let signature = match style {
        Style::Torch2_5 => format!(" {}", signature::as_repr(&program.graph_module.signature)),
        Style::Torch2_8 => format!(" \n{}", indented(&signature::as_list(&program.graph_module.signature))),
        Style::Torch2_15 => format!("\n{}", indented(&signature::as_list(&program.graph_module.signature))),
    };
    let class = indented(if style.indents_empty_lines() { class.trim_end_matches('\n') } else { &class });
    let ranges = program.range_constraints.iter().map(range).collect::<Vec<_>>().join(", ");
    format!("ExportedProgram:\n{class}\nGraph signature:{signature}\nRange constraints: {{{ranges}}}\n")
}

/// The releases of torch by how they print programs. Which of those between them changed what is not known: a format is
/// counted to the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(non_camel_case_types)]
enum Style {
    Torch2_5,
    Torch2_8,
    Torch2_15,
}

impl Style {
    fn of(schema: SchemaVersion) -> Style {
        match (schema.major, schema.minor) {
            (..8, _) => Style::Torch2_5,
            (8, ..20) => Style::Torch2_8,
            _ => Style::Torch2_15,
        }
    }

    /// Whether subgraphs are named by the node that takes them, with its comment, rather than by nodes without a stack.
    fn subgraphs_have_places(self) -> bool {
        self >= Style::Torch2_8
    }

    /// Whether a new stack has a new comment, although its innermost line is the same.
    fn compares_stacks(self) -> bool {
        self <= Style::Torch2_8
    }

    fn indents_empty_lines(self) -> bool {
        self <= Style::Torch2_8
    }

    fn indented(self, line: &str) -> String {
        if line.is_empty() && !self.indents_empty_lines() { String::new() } else { format!("    {line}") }
    }
}

/// Four spaces before every line, also before empty ones.
fn indented(text: &str) -> String {
    text.split('\n').map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn range((expression, bounds): &(String, RangeConstraint)) -> String {
    let bound = |value: Option<i64>, infinite: &str| value.map_or(infinite.to_owned(), |v| v.to_string());
    format!("{expression}: VR[{}, {}]", bound(bounds.min_val, "-int_oo"), bound(bounds.max_val, "int_oo"))
}
