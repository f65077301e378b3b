//! What a call must satisfy, and whether the program can be compiled at all.
//!
//! Takes the imported [`Graph`]; gives the [`Entry`] protocol: how symbols follow from the sizes the caller passes, and
//! which conditions are checked before any kernel runs. The order and the rules are PyTorch's own input check: sizes
//! left to right over the inputs in order, lower bounds only above 2 (sizes 0 and 1 are never assumed away, unless the user
//! wants all bounds), upper bounds where finite. Dims without an upper bound are refused here, since memory is planned for the largest call.

use crate::diag::{Diagnostic, Errors};
use crate::ir::{Graph, Guard, InputKind, Node, Op, OutputKind, PathPart, ValueId};
use crate::options::Options;
use crate::sym::{Expr, Interval, Symbol};

/// The entry protocol of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// In order: later steps may use the symbols of earlier ones.
    pub steps: Vec<EntryStep>,
    /// Conditions beyond sizes and ranges, in the archive's order; after `steps`.
    pub guards: Vec<Guard>,
}

/// Something the entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryStep {
    /// `symbol = (what - offset) / coefficient`; the division must be exact.
    Bind {
        /// The symbol that becomes known.
        symbol: Symbol,
        /// Where the number comes from.
        source: Source,
        /// Factor of the symbol; at least 1.
        coefficient: i64,
        /// The rest, over symbols known before.
        offset: Expr,
    },
    /// The number must equal this.
    Equal {
        /// Which number.
        source: Source,
        /// Over symbols known before.
        expected: Expr,
    },
    /// The number must lie in these bounds.
    Range {
        /// Which number.
        source: Source,
        /// The bounds that are enforced.
        bounds: Interval,
    },
}

impl EntryStep {
    /// The number it is about.
    pub fn source(&self) -> Source {
        let (EntryStep::Bind { source, .. } | EntryStep::Equal { source, .. } | EntryStep::Range { source, .. }) = self;
        *source
    }
}

/// A number the caller determines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Size of dim `dim` of input `input`.
    Size {
        /// Index into the inputs of the graph.
        input: usize,
        /// Dim.
        dim: usize,
    },
    /// Integer input.
    Value {
        /// Index into the inputs of the graph.
        input: usize,
    },
}

/// Applies caps and derives the entry protocol.
///
/// # Errors
/// Unbounded dims, unknown caps, sizes no rule can bind, outputs of the wrong kind: all of them.
pub fn check(graph: &mut Graph, options: &Options) -> Result<Entry, Errors> {
    let mut errors = Errors::default();
    apply_caps(graph, options, &mut errors);
    let ranges = graph.ranges.clone();
    data_ranges(graph, &ranges);
    let entry = entry(graph, options, &mut errors);
    bounded(graph, &mut errors);
    if options.target.is_big_endian() {
        errors.push(Diagnostic::unsupported(format!("big-endian target `{}`", options.target.triple)));
    }
    errors.into_result(entry)
}

/// A cap names a symbol (`s77`) or a dim of an argument (`x.0`).
fn apply_caps(graph: &mut Graph, options: &Options, errors: &mut Errors) {
    for (key, &cap) in &options.caps {
        let symbol = match graph.ranges.0.keys().find(|s| s.as_ref() == key) {
            Some(symbol) => Some(symbol.clone()),
            None => symbol_of_dim(graph, key),
        };
        match symbol {
            Some(symbol) => {
                let range = graph.ranges.0.entry(symbol).or_default();
                range.max = Some(range.max.map_or(cap, |max| max.min(cap)));
            }
            None => {
                let known: Vec<&str> = graph.ranges.0.keys().map(|s| s.as_ref()).collect();
                errors.push(
                    Diagnostic::new(crate::diag::Kind::Usage, format!("cap `{key}` names no dynamic dim"))
                        .help(format!("dynamic dims of this model: {}", known.join(", "))),
                );
            }
        }
    }
}

/// A number read from data must lie in its range, for which memory is planned: checked where it is read, in the words of
/// the assertion that says so, if there is one.
fn data_ranges(graph: &mut Graph, ranges: &crate::sym::Ranges) {
    let words: Vec<(Expr, String)> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.op {
            Op::Assert { condition, message } => Some((condition.clone(), message.clone())),
            _ => None,
        })
        .collect();
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        node.op.graphs_mut().into_iter().for_each(|inner| data_ranges(inner, ranges));
        let (symbol, origin) = match &node.op {
            Op::Item { symbol } => (symbol.clone(), node.origin.clone()),
            _ => {
                graph.nodes.push(node);
                continue;
            }
        };
        graph.nodes.push(node);
        let (range, value) = (ranges.get(&symbol), Expr::Symbol(symbol.clone()));
        let low = range.min.map(|min| Expr::ge(value.clone(), Expr::Int(min)));
        let high = range.max.map(|max| Expr::le(value.clone(), Expr::Int(max)));
        for condition in low.into_iter().chain(high) {
            let stated = words.iter().find(|(c, _)| *c == condition).map(|(_, message)| message.clone());
            let message = stated.unwrap_or_else(|| format!("Expected `{condition}` of a number read from data"));
            let op = Op::Assert { condition, message };
            graph.nodes.push(Node { op, inputs: vec![], outputs: vec![], origin: origin.clone() });
        }
    }
}

fn symbol_of_dim(graph: &Graph, key: &str) -> Option<Symbol> {
    let (argument, dim) = key.rsplit_once('.')?;
    let dim: usize = dim.parse().ok()?;
    let input = graph.inputs.iter().find(|i| path_text(&i.path) == argument)?;
    match (&input.kind, dim) {
        (InputKind::Tensor(v), d) => match graph.ty(*v).shape.get(d)? {
            Expr::Symbol(s) => Some(s.clone()),
            other => other.symbols().into_iter().next(),
        },
        _ => None,
    }
}

/// `args.0.x`, as users write paths.
pub fn path_text(path: &[PathPart]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|p| match p {
            PathPart::Key(k) => k.clone(),
            PathPart::Index(i) => i.to_string(),
        })
        .collect();
    parts.join(".")
}

fn entry(graph: &Graph, options: &Options, errors: &mut Errors) -> Entry {
    let mut entry = Entry::default();
    let mut known = std::collections::BTreeSet::new();
    for (input, argument) in graph.inputs.iter().enumerate() {
        let numbers: Vec<(Source, Expr)> = match &argument.kind {
            InputKind::Tensor(v) => {
                let sizes = graph.ty(*v).shape.iter().enumerate();
                sizes.map(|(dim, size)| (Source::Size { input, dim }, size.clone())).collect()
            }
            InputKind::Int(expr) => vec![(Source::Value { input }, expr.clone())],
            InputKind::Constant(_) => Vec::new(),
        };
        for (source, expr) in numbers {
            number((graph, options), source, &expr, &mut known, &mut entry);
        }
    }
    for guard in &graph.guards {
        match guard.condition.prove(&relaxed(graph)) {
            Some(true) => continue,
            Some(false) => errors.push(never(guard)),
            None => {}
        }
        if let Some(unknown) = guard.condition.symbols().into_iter().find(|s| !known.contains(s)) {
            let fault = Diagnostic::unsupported(format!("assertion on `{unknown}`, which depends on data"));
            errors.push(guard.origin.as_ref().map_or(fault.clone(), |o| fault.at(o)));
        }
        entry.guards.push(guard.clone());
    }
    entry
}

fn never(guard: &Guard) -> Diagnostic {
    let fault = Diagnostic::violated(format!("no call can satisfy `{}` ({})", guard.condition, guard.message));
    guard.origin.as_ref().map_or(fault.clone(), |o| fault.at(o))
}

/// The steps for one number the caller determines, in PyTorch's order: equality or solution, then range.
fn number(
    (graph, options): (&Graph, &Options),
    source: Source,
    expr: &Expr,
    known: &mut std::collections::BTreeSet<Symbol>,
    entry: &mut Entry,
) {
    let unknown: Vec<Symbol> = expr.symbols().into_iter().filter(|s| !known.contains(s)).collect();
    let mut solved = true;
    match unknown.as_slice() {
        [] => entry.steps.push(EntryStep::Equal { source, expected: expr.clone() }),
        [symbol] => match expr.solve_linear(symbol) {
            Some((coefficient, offset)) if coefficient != 0 => {
                known.insert(symbol.clone());
                // -s = n is bound as s = -n.
                entry.steps.push(EntryStep::Bind { symbol: symbol.clone(), source, coefficient, offset });
            }
            _ => solved = false,
        },
        _ => solved = false,
    }
    let stated = match expr {
        Expr::Int(_) => None,
        Expr::Symbol(s) => graph.ranges.0.get(s).copied(),
        _ => graph.derived_ranges.iter().find(|(e, _)| e == expr).map(|(_, i)| *i),
    };
    if let Some(stated) = stated.filter(|_| solved) {
        let bounds = Interval { min: options.bounds.enforced(stated.min), max: stated.max };
        if bounds != Interval::default() {
            entry.steps.push(EntryStep::Range { source, bounds });
        }
    }
}

/// Ranges as they are enforced: a lower bound of 1 or 2 is nominal, sizes 0 and 1 pass.
pub fn relaxed(graph: &Graph) -> crate::sym::Ranges {
    let mut ranges = graph.ranges.clone();
    for interval in ranges.0.values_mut() {
        interval.min = interval.min.map(|m| if m <= 2 { m.min(0) } else { m });
    }
    ranges
}

/// Every tensor must have a greatest size.
fn bounded(graph: &Graph, errors: &mut Errors) {
    let mut seen = std::collections::BTreeSet::new();
    let mut values: Vec<ValueId> = graph.nodes.iter().flat_map(|n| n.outputs.iter().copied()).collect();
    values.extend(graph.inputs.iter().filter_map(|i| match i.kind {
        InputKind::Tensor(v) => Some(v),
        _ => None,
    }));
    values.extend(graph.outputs.iter().filter_map(|o| match o.kind {
        OutputKind::Tensor(v) => Some(v),
        _ => None,
    }));
    for v in values {
        for size in &graph.ty(v).shape {
            if size.interval(&graph.ranges).max.is_some() {
                continue;
            }
            for symbol in size.symbols() {
                if graph.ranges.get(&symbol).max.is_none() && seen.insert(symbol.clone()) {
                    errors.push(unbounded(graph, &symbol));
                }
            }
        }
    }
}

fn unbounded(graph: &Graph, symbol: &Symbol) -> Diagnostic {
    let place = graph.inputs.iter().find_map(|input| {
        let InputKind::Tensor(v) = input.kind else { return None };
        let dim = graph.ty(v).shape.iter().position(|s| s.mentions(symbol))?;
        Some((path_text(&input.path), dim))
    });
    let value = graph.inputs.iter().find(|input| matches!(&input.kind, InputKind::Int(e) if e.mentions(symbol)));
    let Some((argument, dim)) = place else {
        // An integer that the caller passes, or one that is read from a tensor.
        let (what, name) = match value {
            Some(input) => (format!("argument `{}` (`{symbol}`)", path_text(&input.path)), path_text(&input.path)),
            None => (format!("`{symbol}`, which is read from data,"), "n".to_string()),
        };
        return Diagnostic::violated(format!("{what} has no upper bound, so memory of that size cannot be planned"))
            .help(format!(
                "bound it in the model: `torch._check({name} <= 64)`, or cap it here: `cap({symbol} = 64)`"
            ));
    };
    Diagnostic::violated(format!("dim {dim} of `{argument}` (`{symbol}`) has no upper bound, so its memory cannot be planned"))
        .help(format!(
            "export with a bound: `dynamic_shapes={{\"{argument}\": {{{dim}: torch.export.Dim(\"{symbol}\", max=64)}}}}`, or cap it here: `cap(\"{argument}.{dim}\" = 64)`"
        ))
}
