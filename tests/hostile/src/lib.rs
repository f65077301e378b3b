//! A crate as hostile to generated code as a user's can be: no prelude, every lint denied, the facade renamed.
//!
//! Lints do not look into the expansion of a foreign macro, so that `by_build` is the stricter half.
#![no_std]
#![no_implicit_prelude]
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, clippy::all, clippy::pedantic)]

/// Models compiled by the macro.
pub mod by_macro {
    /// Arguments and outputs that are keywords.
    pub mod keywords {
        ::renamed::include_exported!("../../fixtures/interface/keyword_names.pt2");
    }
    /// Nested arguments, options given.
    pub mod nested {
        ::renamed::include_exported!(
            "../../fixtures/interface/nested_structures.pt2",
            name = "named",
            optimize = "size"
        );
    }
    /// A model that remembers.
    pub mod stateful {
        ::renamed::include_exported!("../../fixtures/layouts/buffer_mutation.2.15.0.pt2", outputs("sum"));
    }
}

/// The same models compiled by the build script.
pub mod by_build {
    /// Arguments and outputs that are keywords.
    pub mod keywords {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/keyword_names.rs"));
    }
    /// Nested arguments.
    pub mod nested {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/nested_structures.rs"));
    }
    /// A model that remembers.
    pub mod stateful {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/buffer_mutation.2.15.0.rs"));
    }
}

/// Nobody uses this one: nothing may warn.
mod unused {
    ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/keyword_names.rs"));
}
