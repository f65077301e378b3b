//! The macro's input: target, path and options, each with the span to blame.

use exported_codegen::options::{
    Bounds, InputMemory, Io, Layout, MultiplyAdd, Optimize, Options, Quantization, Target, Winograd, parse_bytes,
};
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

    fn option(&mut self, options: &mut Options) -> Result<(), Fault> {
        let name = self.ident("the name of an option")?;
        match name.as_str() {
            "name" => options.name = self.value()?.0,
            "optimize" => {
                let (word, span) = self.value()?;
                options.optimize = match word.as_str() {
                    "speed" => Optimize::Speed,
                    "size" => Optimize::Size,
                    _ => return Err(Fault::new(span, "expected \"speed\" or \"size\"")),
                };
            }
            "inputs" => {
                let (word, span) = self.value()?;
                options.inputs = match word.as_str() {
                    "caller" => InputMemory::Caller,
                    "workspace" => InputMemory::Workspace,
                    _ => return Err(Fault::new(span, "expected \"caller\" or \"workspace\"")),
                };
            }
            "multiply_add" => {
                let (word, span) = self.value()?;
                options.multiply_add = Some(match word.as_str() {
                    "fused" => MultiplyAdd::Fused,
                    "separate" => MultiplyAdd::Separate,
                    _ => return Err(Fault::new(span, "expected \"fused\" or \"separate\"")),
                });
            }
            "quantization" => {
                let (word, span) = self.value()?;
                options.quantization = match word.as_str() {
                    "fused" => Quantization::Fused,
                    "faithful" => Quantization::Faithful,
                    _ => return Err(Fault::new(span, "expected \"fused\" or \"faithful\"")),
                };
            }
            "io" => {
                let (word, span) = self.value()?;
                options.io = match word.as_str() {
                    "program" => Io::Program,
                    "quantized" => Io::Quantized,
                    _ => return Err(Fault::new(span, "expected \"program\" or \"quantized\"")),
                };
            }
            "winograd" => {
                let (word, span) = self.value()?;
                let known = Winograd::WORDS.iter().find(|(name, _)| *name == word);
                options.winograd = known
                    .map(|(_, winograd)| *winograd)
                    .ok_or_else(|| Fault::new(span, "expected \"auto\", \"off\", \"f2\" or \"f4\""))?;
            }
            "cap" => self.list(|entry| {
                let dim = entry.key("the name of a dim")?;
                entry.equals()?;
                options.caps.insert(dim, entry.integer()?);
                Ok(())
            })?,
            "bounds" => {
                let (word, span) = self.value()?;
                options.bounds = match word.as_str() {
                    "torch" => Bounds::Torch,
                    "strict" => Bounds::Strict,
                    _ => return Err(Fault::new(span, "expected \"torch\" or \"strict\"")),
                };
            }
            "max_rounds" => {
                self.equals()?;
                options.max_rounds = Some(self.integer()?);
            }
            "train_mode" => {
                self.equals()?;
                options.train_mode = match self.next() {
                    Some(TokenTree::Ident(word)) if word.to_string() == "true" => true,
                    Some(TokenTree::Ident(word)) if word.to_string() == "false" => false,
                    _ => return self.fault("expected `true` or `false`"),
                };
            }
            "layout" => self.list(|entry| {
                let input = entry.key("the name of an input")?;
                let (word, span) = entry.value()?;
                let layout = match word.as_str() {
                    "nhwc" | "channels_last" => Layout::ChannelsLast,
                    "nchw" | "torch" => Layout::Torch,
                    _ => return Err(Fault::new(span, "expected \"nhwc\" or \"nchw\"")),
                };
                options.layouts.insert(input, layout);
                Ok(())
            })?,
            "outputs" => {
                let mut position = 0;
                self.list(|entry| {
                    options.output_names.insert(position, entry.text("the name of an output in quotes")?.0);
                    position += 1;
                    Ok(())
                })?;
            }
            "ram" => options.ram = Some(self.bytes()?),
            "flash" => options.flash = Some(self.bytes()?),
            "weights_section" => options.weights_section = Some(self.value()?.0),
            "module" => options.module = Some(self.value()?.0),
            "pure" => self.list(|entry| {
                options.pure_operators.push(entry.text("the name of a custom operator in quotes")?.0);
                Ok(())
            })?,
            "extra" => self.list(|entry| {
                options.extra_files.push(entry.text("the name of an extra file in quotes")?.0);
                Ok(())
            })?,
            _ => {
                return self.fault(format!(
                    "unknown option `{name}`; there are name, optimize, inputs, multiply_add, quantization, io, winograd, cap, bounds, max_rounds, train_mode, layout, outputs, ram, flash, weights_section, module, pure, extra"
                ));
            }
        }
        Ok(())
    }
}

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
