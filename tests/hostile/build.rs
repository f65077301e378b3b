//! The same models by the build-script route.

use exported_codegen::Builder;

fn main() {
    for model in ["interface/keyword_names", "interface/nested_structures", "layouts/buffer_mutation.2.15.0"] {
        Builder::new(format!("../fixtures/{model}.pt2")).program(true).runtime("::renamed::rt").compile();
    }
}
