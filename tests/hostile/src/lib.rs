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
    /// Images as cameras give them.
    pub mod camera {
        ::renamed::include_exported!("../../fixtures/conv/conv2d_residual_block.pt2", layout(x = "nhwc"));
    }
    /// A batch of up to eight, cut down to five.
    pub mod batch {
        ::renamed::include_exported!("../../fixtures/interface/dynamic_batch_mlp.pt2", cap("x.0" = 5));
    }
    /// A model that remembers.
    pub mod stateful {
        ::renamed::include_exported!("../../fixtures/layouts/buffer_mutation.2.15.0.pt2", outputs("sum"));
    }
    /// A model that changes its arguments.
    pub mod changes {
        ::renamed::include_exported!("../../fixtures/contract/changed_rows.pt2");
    }
    /// A batch of at least two.
    pub mod strict {
        ::renamed::include_exported!("../../fixtures/interface/dynamic_batch_reshape.pt2", bounds = "strict");
    }
    /// Arguments that stand in the workspace.
    pub mod entered {
        ::renamed::include_exported!("../../fixtures/interface/keyword_names.pt2", inputs = "workspace");
    }
    /// One of them, whose memory later layers use.
    pub mod overwritten {
        ::renamed::include_exported!("../../fixtures/networks/dense.pt2", inputs = "workspace");
    }
    /// The same, left with the caller.
    pub mod left {
        ::renamed::include_exported!("../../fixtures/networks/dense.pt2");
    }
    /// A loop that may take two rounds.
    pub mod loops {
        ::renamed::include_exported!("../../fixtures/contract/loops.pt2", max_rounds = 2);
    }
}

/// The same models compiled by the build script.
pub mod by_build {
    /// Arguments and outputs that are keywords.
    pub mod keywords {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/keyword_names.rs"));
    }
    /// The same images as torch takes them.
    pub mod planar {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/conv2d_residual_block.rs"));
    }
    /// Nested arguments.
    pub mod nested {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/nested_structures.rs"));
    }
    /// A model that remembers.
    pub mod stateful {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/buffer_mutation.2.15.0.rs"));
    }
    /// A model that changes its arguments, some of them truth values.
    pub mod changes {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/changed_arguments.rs"));
    }
    /// A model that changes an argument of which no size is fixed.
    pub mod plane {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/changed_plane.rs"));
    }
    /// Arguments that were frozen.
    pub mod frozen {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/frozen.rs"));
    }
    /// State that is written between checks.
    pub mod checked {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/checked_state.rs"));
    }
    /// A loop.
    pub mod loops {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/loops.rs"));
    }
}

/// Nobody uses this one: nothing may warn.
mod unused {
    ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/keyword_names.rs"));
}
