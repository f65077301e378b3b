//! JSON as a tree that borrows from its text.
//!
//! `serde_json` does the reading (depth is bounded, floats are exact); the tree is our own, because memory must be debited
//! while it grows, because duplicate keys must not pass, and because torch 2.5 writes the bare words `Infinity`,
//! `-Infinity` and `NaN`, which become the strings that newer versions write.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Also integers beyond `i64`.
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In the order of the text, every key once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Bytes that the tree of one text may take: over a thousand times what the small models of today need, and little
/// enough that a text of nothing but brackets cannot fill the machine.
const TREE_BYTES: usize = 96 << 20;

/// Reads one value that fills the text.
///
/// # Errors
/// The reader's words with line and column.
pub(super) fn parse(text: &str) -> Result<Json<'_>, String> {
    let budget = Budget(Cell::new(TREE_BYTES));
    let quoted = quote_bare_numbers(text);
    let json = match &quoted {
        Cow::Borrowed(text) => read(text, &budget)?,
        Cow::Owned(text) => read(text, &budget)?.into_owned(),
    };
    Ok(json)
}

fn read<'a>(text: &'a str, budget: &Budget) -> Result<Json<'a>, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let json = budget.deserialize(&mut deserializer).map_err(|e| e.to_string())?;
    deserializer.end().map_err(|e| e.to_string())?;
    Ok(json)
}

impl Json<'_> {
    fn into_owned(self) -> Json<'static> {
        let text = |t: Cow<'_, str>| Cow::Owned(t.into_owned());
        match self {
            Json::Null => Json::Null,
            Json::Bool(value) => Json::Bool(value),
            Json::Int(value) => Json::Int(value),
            Json::Float(value) => Json::Float(value),
            Json::Text(value) => Json::Text(text(value)),
            Json::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Json::Object(items) => Json::Object(items.into_iter().map(|(k, v)| (text(k), v.into_owned())).collect()),
        }
    }

    /// What messages call it.
    pub(super) fn describe(&self) -> String {
        match self {
            Json::Null => "`null`".to_owned(),
            Json::Bool(value) => format!("`{value}`"),
            Json::Int(value) => format!("`{value}`"),
            Json::Float(value) => format!("`{value:?}`"),
            Json::Text(value) => format!("the text {:?}", value.chars().take(40).collect::<String>()),
            Json::Array(items) => format!("a list of {}", items.len()),
            Json::Object(items) => format!("an object of {}", items.len()),
        }
    }
}

/// As compact JSON text.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::to_string(text).map_err(|_| fmt::Error);
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Int(value) => write!(f, "{value}"),
            Json::Float(value) => write!(f, "{value:?}"),
            Json::Text(value) => f.write_str(&quoted(value)?),
            Json::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Json::Object(items) => {
                f.write_str("{")?;
                for (i, (key, item)) in items.iter().enumerate() {
                    write!(f, "{}{}: {item}", if i > 0 { ", " } else { "" }, quoted(key)?)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Python's words for non-finite floats, outside strings, become strings.
fn quote_bare_numbers(text: &str) -> Cow<'_, str> {
    if !text.contains("Infinity") && !text.contains("NaN") {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'I' | b'N' if !in_string => {
                if let Some(word) =
                    ["Infinity", "-Infinity", "NaN"].iter().find(|w| bytes[at..].starts_with(w.as_bytes()))
                {
                    out.push_str(&text[copied..at]);
                    out.extend(["\"", word, "\""]);
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Bytes left for the tree.
struct Budget(Cell<usize>);

impl Budget {
    fn debit<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.ok_or_else(|| E::custom(format!("it takes more than {} MiB", TREE_BYTES >> 20)))?);
        Ok(())
    }

    /// Appends, paying for the room before it is taken.
    fn push<T, E: Error>(&self, items: &mut Vec<T>, item: T) -> Result<(), E> {
        if items.len() == items.capacity() {
            let more = items.len().max(4);
            self.debit(more.saturating_mul(size_of::<T>()))?;
            items.reserve_exact(more);
        }
        items.push(item);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Json<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        self.debit(value.len())?;
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            self.push(&mut items, item)?;
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(key) = access.next_key_seed(Key(self))? {
            let value = access.next_value_seed(self)?;
            self.push(&mut items, (key, value))?;
        }
        let mut keys: Vec<&str> = items.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(A::Error::custom(format!("key `{}` occurs twice", pair[0]))),
            None => Ok(Json::Object(items)),
        }
    }
}

/// Reads a key, borrowed where it has no escapes.
struct Key<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.0.debit(value.len())?;
        Ok(Cow::Owned(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact() {
        let json = parse(r#"[1, -9223372036854775808, 9223372036854775808, 1e-05, 0.1, "a\n", null, true]"#);
        let text = Json::Text("a\n".into());
        let numbers = [Json::Int(1), Json::Int(i64::MIN), Json::Float(9_223_372_036_854_775_808.0)];
        let floats = [Json::Float(1e-05), Json::Float(0.1)];
        let rest = [text, Json::Null, Json::Bool(true)];
        assert_eq!(json, Ok(Json::Array(numbers.into_iter().chain(floats).chain(rest).collect())));
        assert_eq!(parse("0.38354987720848606"), Ok(Json::Float(f64::from_bits(0x3fd8_8c14_c8bf_b265))));
    }

    #[test]
    fn bare_words_become_strings() {
        let json = parse(r#"{"NaN": NaN, "a": [Infinity, -Infinity, -1], "\"Infinity": "x\\"}"#).expect("valid");
        assert_eq!(json.to_string(), r#"{"NaN": "NaN", "a": ["Infinity", "-Infinity", -1], "\"Infinity": "x\\"}"#);
        for text in ["Infinit", "--Infinity", "NaNN", "[NaN", "\"NaN"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hostile_texts_are_errors() {
        let deep = "[".repeat(100_000);
        let wide = format!("[{}[]]", "[],".repeat(4_000_000));
        for text in ["", "{", "[1,]", "1 2", "{\"a\": 1, \"a\": 2}", "\"\\ud800\"", "01", "1e999", &deep, &wide] {
            assert!(parse(text).is_err(), "{text:.20}");
        }
        assert!(parse("{\"a\": 1, \"a\": 2}").is_err_and(|e| e.contains("`a` occurs twice")));
    }
}
