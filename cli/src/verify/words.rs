//! Whether a refusal says what PyTorch says: the same argument, the same bound, the same number that came.
//!
//! Up to 2.8 torch checks sizes with sentences of its own, which ours begin with. Since 2.9 most checks are guards, which
//! print their condition (`Guard failed: x.size()[0] <= 6`); ours must then name one of its sizes, and where it states the
//! same relation to a number, the same number. What torch says of other faults (structures of arguments, which are types in
//! Rust; operators that fail before an assertion would) is nothing to compare with.

/// What is wrong with `ours`, the words in which a call was refused, beside `torch_error` of the golden file.
pub fn fault(torch_error: &str, ours: &str) -> Option<String> {
    let torch = torch_error.split_once(": ").map_or(torch_error, |(_, message)| message);
    let agrees = if let Some(guard) = torch.strip_prefix("Guard failed: ") {
        bare(ours) == bare(torch) || of_guard(guard, ours)
    } else if torch.starts_with("Expected input ") || torch.starts_with("Runtime assertion failed ") {
        let sentence = torch.split_once(". If you meant").map_or(torch, |(sentence, _)| sentence);
        begins_with(ours, sentence)
    } else if torch.starts_with("Unexpected number of dimensions ") {
        ours.starts_with(torch.split_once(" (").map_or(torch, |(place, _)| place))
    } else {
        true
    };
    (!agrees).then(|| format!("was refused with `{ours}`, where torch says `{torch}`"))
}

/// Whether a text begins with these words, and not with a longer last one (`7` in `71`).
fn begins_with(text: &str, words: &str) -> bool {
    let rest = text.strip_prefix(words);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '.'))
}

/// A condition without parentheses and spaces: torch prints those of the archive's text anew, as Python needs them.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '(' | ')' | ' ')).collect()
}

/// Whether one of our sentences speaks of an argument that the guard speaks of.
fn of_guard(guard: &str, ours: &str) -> bool {
    let names = arguments(guard).any(|argument| argument.is_in(ours));
    let number = RELATIONS.iter().find_map(|(symbol, words)| {
        let (left, bound) = guard.split_once(symbol)?;
        let ((place, size), bound) = (left.split_once(".size()").unwrap_or((left, "")), bound.parse::<i64>().ok()?);
        // Of a sum, or of the sizes of another argument, the number is not that of our sentence.
        let alone = !place.contains(' ') && !size.contains(' ');
        let stated = ours.split_once(&format!(" to be {words} "))?.1.split_once(',')?.0;
        alone.then(|| stated == bound.to_string())
    });
    names && number.unwrap_or(true)
}

const RELATIONS: [(&str, &str); 3] = [(" >= ", ">="), (" <= ", "<="), (" == ", "equal to")];

/// An argument, or a dim of one, as a guard names it.
struct Argument {
    /// Name of the parameter of `forward`.
    root: String,
    /// What follows it, as torch's paths write it: `['x'].shape[0]`.
    path: String,
}

impl Argument {
    fn is_in(&self, ours: &str) -> bool {
        // The name in Rust stands in backticks, raw if it is a keyword.
        let named = [format!("`{}", self.root), format!("`r#{}", self.root)];
        let place = ours.split_once(" to be ").map_or(ours, |(place, _)| place);
        let place = place.split_once(" = ").map_or(place, |(place, _)| place);
        let same_kind = place.contains(".shape[") == self.path.contains(".shape[");
        same_kind && place.ends_with(&self.path) && named.iter().any(|name| ours.contains(name))
    }
}

/// The arguments of a guard: words that are not numbers, with what follows them.
fn arguments(guard: &str) -> impl Iterator<Item = Argument> {
    let pieces = guard.split(|c: char| c.is_whitespace() || matches!(c, '*' | '+' | '%' | '/'));
    pieces.filter_map(|piece| {
        let piece = piece.trim_start_matches(['(', '-']);
        let end = piece.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (root, rest) = piece.split_at_checked(end)?;
        let named = root.starts_with(|c: char| c.is_alphabetic() || c == '_');
        named.then(|| Argument { root: root.into(), path: path(rest) })
    })
}

/// `['x'][0].bias.size()[0]` → `['x'][0]['bias'].shape[0]`.
fn path(rest: &str) -> String {
    let (place, size) = rest.split_once(".size()").unwrap_or((rest, ""));
    let mut path = String::new();
    for (i, field) in place.split('.').enumerate() {
        match i {
            0 => path += field,
            _ => path += &format!("['{field}']"),
        }
    }
    match size.split_once(']') {
        Some((dim, _)) => path + ".shape" + dim + "]",
        None => path.trim_end_matches(')').into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "Expected input at *args[0].shape[1] to be <= 6, but got 7 (dim 1 of `x`)";

    fn agree(torch: &str, ours: &str) -> bool {
        fault(torch, ours).is_none()
    }

    #[test]
    fn sentences_of_torch_begin_ours() {
        assert!(agree("RuntimeError: Expected input at *args[0].shape[1] to be <= 6, but got 7", OURS));
        assert!(agree(&format!("RuntimeError: {OURS}. If you meant for this"), OURS));
        for other in ["*args[0].shape[1] to be <= 6, but got 8", "*args[1].shape[1] to be <= 6, but got 7"] {
            let fault = fault(&format!("RuntimeError: Expected input at {other}"), OURS).expect("differs");
            assert!(fault.contains(OURS) && fault.contains(other), "{fault}");
        }
        assert!(!agree(
            "RuntimeError: Expected input at *args[0].shape[1] to be <= 6, but got 7",
            &OURS.replace(" 7 ", " 71 ")
        ));
        let float = "RuntimeError: Expected input at *args[1] to be equal to 2.5, but got 2";
        assert!(!agree(float, "Expected input at *args[1] to be equal to 2.5, but got 2.0 (`scale`)"));
        let assertion = "RuntimeError: Runtime assertion failed for expression u0 <= 8 on node 'le_1'";
        assert!(agree(assertion, &assertion[14..]) && !agree(assertion, "index out of range: 9 for size 8"));
        let rank =
            "RuntimeError: Unexpected number of dimensions in input at *args[1].shape (expected torch.Size([2]))";
        assert!(agree(
            rank,
            "Unexpected number of dimensions in input at *args[1].shape (expected f32[2], got f32[2, 1])"
        ));
        assert!(!agree(
            rank,
            "Unexpected number of dimensions in input at *args[0].shape (expected f32[2], got f32[2, 1])"
        ));
    }

    #[test]
    fn guards_name_what_ours_name() {
        for guard in [
            "x.size()[1] <= 6",
            "3 * x.size()[1] == 4 + y.size()[0]",
            "(y.size()[0] + x.size()[1]) % 4 == 0",
            "x.size()[1] <= 6 and y.size()[0] <= 6",
        ] {
            assert!(agree(&format!("AssertionError: Guard failed: {guard}"), OURS), "{guard}");
            let literally = format!("Guard failed: {guard}");
            assert!(agree(&format!("AssertionError: {literally}"), &literally), "{guard}");
        }
        let (torch, ours) =
            ("x.size()[2] == 2 + 2 * ((-1 + x.size()[2]) // 2)", "x.size()[2] == (2 + 2*(((-1) + x.size()[2]) // 2))");
        assert!(agree(&format!("AssertionError: Guard failed: {torch}"), &format!("Guard failed: {ours}")));
        let (torch, ours) = ("(x.size()[0] + y.size()[1]) % 4 == 0", "((x.size()[0] + y.size()[1]) % 4) == 0");
        assert!(agree(&format!("AssertionError: Guard failed: {torch}"), &format!("Guard failed: {ours}")));
        for guard in ["x.size()[0] <= 6", "y.size()[1] <= 6", "x.size()[1] <= 5", "x == 6"] {
            assert!(!agree(&format!("AssertionError: Guard failed: {guard}"), OURS), "{guard}");
        }
        let nested =
            "Expected input at *args[0]['others'][0].shape[0] to be equal to 6, but got 7 (dim 0 of `args.others.0`)";
        assert!(agree("AssertionError: Guard failed: args['others'][0].size()[0] == 2 * args['x'].size()[0]", nested));
        assert!(!agree("AssertionError: Guard failed: args['others'][1].size()[0] == 2 * args['x'].size()[0]", nested));
        let field = "Expected input at *args[0]['bias'] to be equal to 1, but got 2 (`x.bias`)";
        assert!(agree("AssertionError: Guard failed: x.bias == 1", field));
        assert!(!agree("AssertionError: Guard failed: x.bias == 3", field));
        let text = "Expected input at *args[3] to be equal to relu, but got none (`r#mode`)";
        assert!(agree("AssertionError: Guard failed: mode == 'relu'", text));
    }

    #[test]
    fn other_faults_are_not_compared() {
        assert!(agree("ValueError: Ran into a kwarg keyword mismatch", "anything"));
    }
}
