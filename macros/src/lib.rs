//! The proc macro behind `exported::include_exported!`: a shim over `exported-codegen`.
//!
//! Takes `[$crate] [target] [arguments]`, gives the items of one model. The model is compiled on a thread of its own,
//! with a large stack and with panics caught; so that no token of the compiler's crosses threads, the compiler of models
//! works on proc-macro2's own tokens and hands over text, which is parsed here.
#![forbid(unsafe_code)]

mod arguments;
mod expand;

use proc_macro::TokenStream;

/// See `exported::include_exported!`.
#[proc_macro]
pub fn include_exported(input: TokenStream) -> TokenStream {
    match arguments::parse(input) {
        Ok(invocation) => expand::expand(invocation),
        Err(fault) => fault.into_tokens(),
    }
}
