//! Compiles both archives to one readable file each in `OUT_DIR`. It runs again when an archive changes, and only then.

fn main() {
    exported_codegen::Builder::new("models/gate.pt2").compile();
    exported_codegen::Builder::new("../digits/digits.pt2").compile();
}
