//! Tokens of the three notations.

/// Longest text that is read; real ones have some hundred bytes.
const MAX_TEXT: usize = 1 << 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Digits, perhaps with a fraction and an exponent.
    Number(&'a str),
    /// An identifier.
    Name(&'a str),
    /// The inside of a quoted text.
    Text(&'a str),
    /// An operator or bracket.
    Mark(&'static str),
    End,
}

const MARKS: [&str; 25] = [
    "**", "//", "==", "!=", "<=", ">=", "<<", ">>", "+", "-", "*", "/", "%", "<", ">", "(", ")", "[", "]", ",", ".",
    "=", "&", "|", "~",
];

/// The tokens of `text`, the last one `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("longer than {MAX_TEXT} bytes"));
    }
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '0'..='9' => {
                let len = number_length(rest.as_bytes());
                (Token::Number(&rest[..len]), len)
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Name(&rest[..len]), len)
            }
            '\'' | '"' => {
                let inside = &rest[1..];
                let len = inside.find([first, '\\', '\n']).filter(|n| inside[*n..].starts_with(first));
                let len = len.ok_or("a quoted text without end, or with an escape")?;
                (Token::Text(&inside[..len]), len + 2)
            }
            _ => match MARKS.iter().find(|m| rest.starts_with(**m)) {
                Some(mark) => (Token::Mark(mark), mark.len()),
                None => return Err(format!("unexpected {first:?}")),
            },
        };
        tokens.push(token);
        rest = rest[len..].trim_start();
    }
    tokens.push(Token::End);
    Ok(tokens)
}

/// `12`, `1.7`, `2.`, `1e-5`.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| from + text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}
