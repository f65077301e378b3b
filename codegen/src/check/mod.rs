//! What a call must satisfy, and whether the program can be compiled at all.
//!
//! Takes the imported [`Graph`]; gives the [`Entry`] protocol: how symbols follow from the sizes the caller passes, and
//! which conditions are checked before any kernel runs. The order and the rules are PyTorch's own input check: sizes
//! left to right over the inputs in order, lower bounds only above 2 (sizes 0 and 1 are never assumed away, unless the user
//! wants all bounds), upper bounds where finite. Dims without an upper bound are refused here, since memory is planned for the largest call.

use crate::diag::{Diagnostic, Errors};
use crate::ir::{Graph, Guard, InputKind, Op, OutputKind, PathPart, ValueId};
use crate::options::{Bounds, Options};
use crate::sym::{Expr, Interval, Symbol};

/// The entry protocol of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// In order: later steps may use the symbols of earlier ones.
    pub steps: Vec<EntryStep>,
    /// Conditions beyond sizes and ranges, in the archive's order; after `steps`.
    pub guards: Vec<Guard>,
    /// Symbols that follow from others ([`Graph::derived`]), before the guards, which may speak of them.
    pub derived: Vec<(Symbol, Expr)>,
    /// After everything else: numbers that must be what several symbols make them. PyTorch leaves these to assertions of the
    /// program, which compare the size with itself as soon as the recorded size is believed.
    pub closing: Vec<EntryStep>,
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
    graph.derive_ranges();
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
                if let Some(min) = options.bounds.enforced(range.min).filter(|min| *min > cap) {
                    errors.push(Diagnostic::new(
                        crate::diag::Kind::Usage,
                        format!("cap `{key}` is {cap}, but the program takes no size below {min}"),
                    ));
                }
                range.max = Some(range.max.map_or(cap, |max| max.min(cap)));
                range.min = range.min.map(|min| min.min(cap));
            }
            None => {
                let of_caller =
                    |s: &&Symbol| !s.starts_with('z') && !graph.derived.iter().any(|(derived, _)| derived == *s);
                let known: Vec<&str> = graph.ranges.0.keys().filter(of_caller).map(|s| s.as_ref()).collect();
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
            graph.assert(condition, message, &origin);
        }
    }
}

fn symbol_of_dim(graph: &Graph, key: &str) -> Option<Symbol> {
    let (argument, dim) = key.rsplit_once('.')?;
    let dim: usize = dim.parse().ok()?;
    let input = graph.inputs.iter().find(|i| path_text(&i.path) == argument)?;
    match (&input.kind, dim) {
        (InputKind::Tensor(_), d) => match graph.stated_shape(input).get(d)? {
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
    let mut entry = Entry { derived: graph.derived.clone(), ..Entry::default() };
    let mut known = std::collections::BTreeSet::new();
    let mut later = Vec::new();
    for (source, expr) in numbers(graph) {
        match expr.symbols().len() {
            0 => entry.steps.push(EntryStep::Equal { source, expected: expr }),
            1 if number((graph, options), source, &expr, &mut known, &mut entry) => {}
            _ => later.push((source, expr)),
        }
    }
    for (source, expr) in later {
        match close(source, &expr, &mut known) {
            Some(EntryStep::Bind { symbol, source, coefficient, offset }) => {
                entry.guards.extend(within(graph, &symbol));
                entry.steps.push(EntryStep::Bind { symbol, source, coefficient, offset });
            }
            Some(step) => entry.closing.push(step),
            None => errors.push(unsolvable(graph, source, &expr)),
        }
    }
    for guard in &graph.guards {
        match guard.condition.prove(&relaxed(graph)) {
            Some(true) => continue,
            Some(false) => errors.push(never(guard)),
            None => {}
        }
        let derived = |s: &Symbol| graph.derived.iter().any(|(derived, _)| derived == s);
        if let Some(unknown) = guard.condition.symbols().into_iter().find(|s| !known.contains(s) && !derived(s)) {
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

/// The steps for a number of one symbol, in PyTorch's order: equality or solution, then range. False if it cannot be solved
/// for the symbol, which another number must give then.
fn number(
    (graph, options): (&Graph, &Options),
    source: Source,
    expr: &Expr,
    known: &mut std::collections::BTreeSet<Symbol>,
    entry: &mut Entry,
) -> bool {
    match close(source, expr, known) {
        Some(step) => entry.steps.push(step),
        None => return false,
    }
    let stated = match expr {
        Expr::Symbol(s) => graph.ranges.0.get(s).copied(),
        _ => graph.derived_ranges.iter().find(|(e, _)| e == expr).map(|(_, i)| *i),
    };
    let stated = stated.unwrap_or_default();
    // A cap on the symbol bounds what is made of it, too.
    let most = expr.interval(&graph.ranges).max;
    let max = stated.max.into_iter().chain(most).min();
    let bounds = Interval { min: options.bounds.enforced(stated.min), max };
    if bounds != Interval::default() {
        entry.steps.push(EntryStep::Range { source, bounds });
    }
    true
}

/// A number that known symbols determine, or that determines the one symbol it is linear in.
fn close(source: Source, expr: &Expr, known: &mut std::collections::BTreeSet<Symbol>) -> Option<EntryStep> {
    let unknown: Vec<Symbol> = expr.symbols().into_iter().filter(|s| !known.contains(s)).collect();
    let [symbol] = unknown.as_slice() else {
        return unknown.is_empty().then(|| EntryStep::Equal { source, expected: expr.clone() });
    };
    let (coefficient, offset) = expr.solve_linear(symbol).filter(|(coefficient, _)| *coefficient != 0)?;
    known.insert(symbol.clone());
    Some(EntryStep::Bind { symbol: symbol.clone(), source, coefficient, offset })
}

/// The upper bound of a symbol, for which memory is planned, as a condition.
fn within(graph: &Graph, symbol: &Symbol) -> Option<Guard> {
    let max = graph.ranges.get(symbol).max?;
    let message = format!("Expected {symbol} to be <= {max}");
    Some(Guard { condition: Expr::le(Expr::Symbol(symbol.clone()), Expr::Int(max)), message, origin: None })
}

fn unsolvable(graph: &Graph, source: Source, expr: &Expr) -> Diagnostic {
    let (Source::Size { input, .. } | Source::Value { input }) = source;
    let argument = graph.inputs.get(input).map_or_else(String::new, |input| path_text(&input.path));
    let place = match source {
        Source::Size { dim, .. } => format!("dim {dim} of `{argument}`"),
        Source::Value { .. } => format!("argument `{argument}`"),
    };
    Diagnostic::unsupported(format!("{place} is `{expr}`, from which its symbols do not follow"))
        .help("let another argument have these sizes as dims of their own")
}

/// Ranges as they are enforced: a lower bound of 1 or 2 is nominal, sizes 0 and 1 pass. A symbol that follows from an
/// expression is positive, and has what lower bound is enforced of that.
pub fn relaxed(graph: &Graph) -> crate::sym::Ranges {
    let enforced = |min: Option<i64>| Bounds::Torch.enforced(min);
    let numbers = numbers(graph);
    let mut ranges = graph.ranges.clone();
    for (symbol, interval) in &mut ranges.0 {
        let alone = |expr: &&Expr| expr.mentions(symbol) && expr.symbols().len() == 1;
        let first = numbers.iter().map(|(_, expr)| expr).find(alone);
        let low = match first.and_then(|expr| Some((expr, expr.solve_linear(symbol)?))) {
            Some((expr, (coefficient, offset))) if !matches!(expr, Expr::Symbol(_)) => {
                let stated = graph.derived_ranges.iter().find(|(e, _)| e == expr).and_then(|(_, range)| range.min);
                let rest = enforced(stated).zip(offset.as_int()).map(|(min, offset)| min.saturating_sub(offset));
                let least =
                    rest.filter(|_| coefficient > 0).map(|rest| rest.saturating_add(coefficient - 1) / coefficient);
                least.map_or(1, |least| least.max(1))
            }
            _ => enforced(interval.min).unwrap_or(0),
        };
        interval.min = interval.min.map(|min| min.min(low));
    }
    for (symbol, value) in &graph.derived {
        let range = value.interval(&ranges);
        ranges.0.insert(symbol.clone(), range);
    }
    ranges
}

/// What the caller determines, in order: sizes and integers.
fn numbers(graph: &Graph) -> Vec<(Source, Expr)> {
    let mut numbers = Vec::new();
    for (input, argument) in graph.inputs.iter().enumerate() {
        match &argument.kind {
            InputKind::Tensor(_) => {
                let sizes = graph.stated_shape(argument).into_iter().enumerate();
                numbers.extend(sizes.map(|(dim, size)| (Source::Size { input, dim }, size)));
            }
            InputKind::Int(expr) => numbers.push((Source::Value { input }, expr.clone())),
            InputKind::Constant(_) => {}
        }
    }
    numbers
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
            let stated = |s: Symbol| match graph.derived.iter().find(|(derived, _)| *derived == s) {
                Some((_, value)) => value.symbols(),
                None => [s].into(),
            };
            for symbol in size.symbols().into_iter().flat_map(stated) {
                if graph.ranges.get(&symbol).max.is_none() && seen.insert(symbol.clone()) {
                    errors.push(unbounded(graph, &symbol));
                }
            }
        }
    }
}

fn unbounded(graph: &Graph, symbol: &Symbol) -> Diagnostic {
    let place = graph.inputs.iter().find_map(|input| {
        let dim = graph.stated_shape(input).iter().position(|s| s.mentions(symbol))?;
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

#[cfg(test)]
mod tests;
