//! The macro's input: target, path and options, each with the span to blame.

use exported_codegen::options::{Options, Target, Word, parse_bytes};
use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// What the macro was asked for.
pub(crate) struct Invocation {
    /// Tokens of `$crate`.
    pub(crate) facade: TokenStream,
    /// Path as written.
    pub(crate) path: String,
    /// Span of the path: every fault of the model is reported there.
    pub(crate) span: Span,
    /// The options; `name` is empty unless given.
    pub(crate) options: Options,
}

/// A message for the user at a place of his source.
pub(crate) struct Fault {
    /// Where.
    pub(crate) span: Span,
    /// One error per entry.
    pub(crate) messages: Vec<String>,
}

impl Fault {
    /// One message.
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Fault { span, messages: vec![message.into()] }
    }

    /// `::core::compile_error!` per message.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let span = self.span;
        let ident = |name| TokenTree::Ident(Ident::new(name, span));
        let punct = |c, spacing| {
            let mut punct = Punct::new(c, spacing);
            punct.set_span(span);
            TokenTree::Punct(punct)
        };
        let colons = || [punct(':', Spacing::Joint), punct(':', Spacing::Alone)];
        let error = |message: &String| {
            let mut text = proc_macro::Literal::string(message);
            text.set_span(span);
            let mut body = Group::new(Delimiter::Brace, TokenTree::Literal(text).into());
            body.set_span(span);
            let mut tokens: Vec<TokenTree> = colons().into();
            tokens.push(ident("core"));
            tokens.extend(colons());
            tokens.extend([ident("compile_error"), punct('!', Spacing::Alone), TokenTree::Group(body)]);
            tokens
        };
        self.messages.iter().flat_map(error).collect()
    }
}

/// Reads `[$crate] ["target" "flags" "features" program] [arguments]`.
pub(crate) fn parse(input: TokenStream) -> Result<Invocation, Fault> {
    let groups: Vec<Group> = input
        .into_iter()
        .filter_map(|token| if let TokenTree::Group(group) = token { Some(group) } else { None })
        .collect();
    let [facade, target, arguments] = &groups[..] else {
        return Err(Fault::new(Span::call_site(), "call this macro as `exported::include_exported!`"));
    };
    let mut words = Reader::new(target.stream(), target.span());
    let triple = words.text("target")?.0;
    let (flags, features) = (words.text("flags")?.0, words.text("features")?.0);
    let program = words.next().is_some_and(|t| t.to_string() == "true");
    let mut options = Options::new("", Target::from_cargo(&triple, &flags, &features));
    options.program = program;
    let mut reader = Reader::new(arguments.stream(), Span::call_site());
    let (path, span) = reader.text("the path of a .pt2 file in quotes")?;
    while reader.comma()? {
        reader.option(&mut options)?;
    }
    Ok(Invocation { facade: facade.stream(), path, span, options })
}

/// A cursor over tokens.
struct Reader {
    tokens: std::iter::Peekable<proc_macro::token_stream::IntoIter>,
    /// Where to point when tokens are missing.
    last: Span,
}

impl Reader {
    fn new(tokens: TokenStream, last: Span) -> Self {
        Reader { tokens: tokens.into_iter().peekable(), last }
    }

    fn next(&mut self) -> Option<TokenTree> {
        let token = self.tokens.next()?;
        self.last = token.span();
        Some(token)
    }

    fn fault<T>(&self, message: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(self.last, message))
    }

    /// A string literal; one inside an invisible group (a macro variable) counts.
    fn text(&mut self, what: &str) -> Result<(String, Span), Fault> {
        let mut token = self.next();
        while let Some(TokenTree::Group(group)) = &token
            && group.delimiter() == Delimiter::None
        {
            token = group.stream().into_iter().next();
        }
        let span = token.as_ref().map_or(self.last, TokenTree::span);
        let text = token.map(|t| t.to_string()).and_then(|text| unquote(&text));
        text.map(|text| (text, span)).ok_or_else(|| Fault::new(span, format!("expected {what}")))
    }

    /// Whether another entry follows a comma (a trailing comma is fine).
    fn comma(&mut self) -> Result<bool, Fault> {
        match self.next() {
            None => Ok(false),
            Some(TokenTree::Punct(p)) if p.as_char() == ',' => Ok(self.tokens.peek().is_some()),
            Some(_) => self.fault("expected a comma"),
        }
    }

    fn equals(&mut self) -> Result<(), Fault> {
        match self.next() {
            Some(TokenTree::Punct(p)) if p.as_char() == '=' => Ok(()),
            _ => self.fault("expected `=`"),
        }
    }

    fn ident(&mut self, what: &str) -> Result<String, Fault> {
        match self.next() {
            Some(TokenTree::Ident(ident)) => Ok(ident.to_string().trim_start_matches("r#").to_string()),
            _ => self.fault(format!("expected {what}")),
        }
    }

    /// An identifier, or a text for names that are none (`"x.0"`).
    fn key(&mut self, what: &str) -> Result<String, Fault> {
        match self.tokens.peek() {
            Some(TokenTree::Ident(_)) => self.ident(what),
            _ => self.text(what).map(|(text, _)| text),
        }
    }

    fn integer(&mut self) -> Result<i64, Fault> {
        let text = self.next().map(|t| t.to_string()).unwrap_or_default();
        text.replace('_', "").parse().or_else(|_| self.fault("expected an integer"))
    }

    /// A parenthesized list, read entry by entry.
    fn list(&mut self, mut entry: impl FnMut(&mut Reader) -> Result<(), Fault>) -> Result<(), Fault> {
        let Some(TokenTree::Group(group)) = self.next() else { return self.fault("expected `(`") };
        let mut inner = Reader::new(group.stream(), group.span());
        if inner.tokens.peek().is_none() {
            return Ok(());
        }
        loop {
            entry(&mut inner)?;
            if !inner.comma()? {
                return Ok(());
            }
        }
    }

    fn value(&mut self) -> Result<(String, Span), Fault> {
        self.equals()?;
        self.text("a text in quotes")
    }

    fn bytes(&mut self) -> Result<u64, Fault> {
        let (text, span) = self.value()?;
        parse_bytes(&text).map_err(|message| Fault::new(span, message))
    }

    /// `= "word"` of an option that has a few.
    fn choice<T: Word>(&mut self) -> Result<T, Fault> {
        let (word, span) = self.value()?;
        T::of(&word).map_err(|message| Fault::new(span, message))
    }

    /// `("name", ...)`.
    fn texts(&mut self, what: &str) -> Result<Vec<String>, Fault> {
        let mut texts = Vec::new();
        self.list(|entry| entry.text(what).map(|(text, _)| texts.push(text)))?;
        Ok(texts)
    }

    fn flag(&mut self) -> Result<bool, Fault> {
        self.equals()?;
        match self.next() {
            Some(TokenTree::Ident(word)) if word.to_string() == "true" => Ok(true),
            Some(TokenTree::Ident(word)) if word.to_string() == "false" => Ok(false),
            _ => self.fault("expected `true` or `false`"),
        }
    }

    fn option(&mut self, options: &mut Options) -> Result<(), Fault> {
        let name = self.ident("the name of an option")?;
        let Some((_, read)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = OPTIONS.iter().map(|(known, _)| *known).collect();
            return self.fault(format!("unknown option `{name}`; there are {}", known.join(", ")));
        };
        read(self, options)
    }
}

type Read = fn(&mut Reader, &mut Options) -> Result<(), Fault>;

/// Every option, and how what follows its name is read.
const OPTIONS: &[(&str, Read)] = &[
    ("name", |r, o| r.value().map(|(name, _)| o.name = name)),
    ("optimize", |r, o| r.choice().map(|word| o.optimize = word)),
    ("inputs", |r, o| r.choice().map(|word| o.inputs = word)),
    ("multiply_add", |r, o| r.choice().map(|word| o.multiply_add = Some(word))),
    ("quantization", |r, o| r.choice().map(|word| o.quantization = word)),
    ("io", |r, o| r.choice().map(|word| o.io = word)),
    ("winograd", |r, o| r.choice().map(|word| o.winograd = word)),
    ("cap", |r, o| {
        r.list(|entry| {
            let dim = entry.key("the name of a dim")?;
            entry.equals()?;
            o.caps.insert(dim, entry.integer()?);
            Ok(())
        })
    }),
    ("bounds", |r, o| r.choice().map(|word| o.bounds = word)),
    ("max_rounds", |r, o| {
        r.equals()?;
        r.integer().map(|n| o.max_rounds = Some(n))
    }),
    ("train_mode", |r, o| r.flag().map(|flag| o.train_mode = flag)),
    ("layout", |r, o| {
        r.list(|entry| {
            let input = entry.key("the name of an input")?;
            o.layouts.insert(input, entry.choice()?);
            Ok(())
        })
    }),
    ("outputs", |r, o| {
        let names = r.texts("the name of an output in quotes")?;
        o.output_names.extend(names.into_iter().enumerate());
        Ok(())
    }),
    ("ram", |r, o| r.bytes().map(|n| o.ram = Some(n))),
    ("flash", |r, o| r.bytes().map(|n| o.flash = Some(n))),
    ("weights_section", |r, o| r.value().map(|(name, _)| o.weights_section = Some(name))),
    ("module", |r, o| r.value().map(|(path, _)| o.module = Some(path))),
    ("pure", |r, o| r.texts("the name of a custom operator in quotes").map(|names| o.pure_operators.extend(names))),
    ("extra", |r, o| r.texts("the name of an extra file in quotes").map(|names| o.extra_files.extend(names))),
];

/// The value of a string literal as the compiler prints it: plain with escapes, or raw.
fn unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        let inner = raw.trim_matches('#');
        return Some(inner.strip_prefix('"')?.strip_suffix('"')?.to_string());
    }
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match rest.next()? {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '0' => text.push('\0'),
            'x' => {
                let code: String = rest.by_ref().take(2).collect();
                text.push(char::from(u8::from_str_radix(&code, 16).ok()?));
            }
            'u' => {
                let code: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
            }
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::unquote;

    #[test]
    fn literals_are_unquoted() {
        assert_eq!(unquote(r#""a/b.pt2""#).as_deref(), Some("a/b.pt2"));
        assert_eq!(unquote(r##"r#"a"b"#"##).as_deref(), Some("a\"b"));
        assert_eq!(unquote(r#""\u{1f}\x41\n\\""#).as_deref(), Some("\u{1f}A\n\\"));
        assert_eq!(unquote("12"), None);
        assert_eq!(unquote("'c'"), None);
    }
}
