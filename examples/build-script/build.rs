//! Compiles both archives to one readable file each in `OUT_DIR`. It runs again when an archive changes, and only then.

use exported_codegen::Builder;

fn main() {
    Builder::new("models/gate.pt2").compile();
    Builder::new("../digits/digits.pt2").compile();
}
