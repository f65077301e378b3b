//! From an invocation to the tokens of a model.

use crate::arguments::{Fault, Invocation};
use exported_codegen::options::Options;
use exported_codegen::{Errors, Output};
use proc_macro::{Delimiter, Group, Literal, Punct, Spacing, TokenStream, TokenTree};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Above this size of the archive the macro refuses: the compiler would need a second and 300 MB per 14 MB of literal.
const LIMIT: u64 = 32 << 20;

/// The items of the model, or one compile error per fault.
pub(crate) fn expand(invocation: Invocation) -> TokenStream {
    let Invocation { facade, path: written, span, options } = invocation;
    match locate(&written, span).and_then(|path| Ok((compile(&path, &written, options)?, path))) {
        Ok((output, path)) => tokens(&output, &path, facade).unwrap_or_else(|e| {
            Fault::new(span, format!("internal error: generated code does not parse: {e}")).into_tokens()
        }),
        Err(messages) => Fault { span, messages }.into_tokens(),
    }
}

/// The file, seen from the source file that holds the literal, or else from the manifest.
fn locate(path: &str, span: proc_macro::Span) -> Result<PathBuf, Vec<String>> {
    // Forward slashes work everywhere; a path written on another system should, too.
    let path = PathBuf::from(if cfg!(windows) { path.to_string() } else { path.replace('\\', "/") });
    let manifest = || std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let beside = span.local_file().and_then(|file| file.parent().map(Path::to_path_buf));
    let base = beside.or_else(manifest).unwrap_or_default();
    let full = base.join(&path);
    std::path::absolute(&full).map_err(|e| vec![format!("cannot resolve `{}`: {e}", full.display())])
}

/// Reads and compiles. Faults of the file name its full path, faults of the model the path as it was `written`.
fn compile(path: &Path, written: &str, mut options: Options) -> Result<Output, Vec<String>> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|e| vec![format!("cannot read `{shown}`: {e}")])?.len();
    if size > LIMIT {
        return Err(vec![format!(
            "`{shown}` has {} MB; above {} MB use `exported_codegen::Builder` in a build script, \
             whose weights do not pass through the compiler",
            size >> 20,
            LIMIT >> 20
        )]);
    }
    let bytes = std::fs::read(path).map_err(|e| vec![format!("cannot read `{shown}`: {e}")])?;
    if options.name.is_empty() {
        options.name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    }
    // The thread is not a proc macro: proc-macro2 must not ask the compiler for tokens there.
    proc_macro2::fallback::force();
    exported_codegen::compile_isolated(bytes, options)
        .map_err(|Errors(faults)| faults.iter().map(|fault| format!("`{written}`: {fault}")).collect())
}

/// `use $crate::rt; <items> static WEIGHTS = ..; const _ = include_bytes!(..);`
fn tokens(output: &Output, path: &Path, facade: TokenStream) -> Result<TokenStream, proc_macro::LexError> {
    let mut tokens = TokenStream::from_str("use")?;
    tokens.extend(facade);
    tokens.extend(TokenStream::from_str("::rt as rt;")?);
    tokens.extend(TokenStream::from_str(&output.items)?);
    if !output.weights.is_empty() {
        tokens.extend(weights(output)?);
    }
    // Makes cargo notice that the archive changed.
    let archive = Literal::string(&path.to_string_lossy());
    tokens.extend(TokenStream::from_str("const _: &[::core::primitive::u8] = ::core::include_bytes!")?);
    tokens.extend([group(TokenTree::Literal(archive).into()), semicolon()]);
    Ok(tokens)
}

fn weights(output: &Output) -> Result<TokenStream, proc_macro::LexError> {
    let mut tokens = TokenStream::from_str(&output.weights_declaration())?;
    tokens.extend(TokenStream::from_str("= rt::Weights::new")?);
    // An editor wants names and types; the numbers would cost it memory and time.
    let editor = std::env::var_os("RUST_ANALYZER_INTERNALS_DO_NOT_USE").is_some();
    let value = if editor {
        TokenStream::from_str(&format!("[0; {}]", output.weights.len()))?
    } else {
        let star = TokenTree::Punct(Punct::new('*', Spacing::Alone));
        [star, TokenTree::Literal(Literal::byte_string(&output.weights))].into_iter().collect()
    };
    tokens.extend([group(value), semicolon()]);
    Ok(tokens)
}

fn group(tokens: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(Delimiter::Parenthesis, tokens))
}

fn semicolon() -> TokenTree {
    TokenTree::Punct(Punct::new(';', Spacing::Alone))
}
