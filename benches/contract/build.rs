//! Compiles the model that `BENCH_MODEL` names (a `.pt2` file); without it the digits example, so that the package always
//! builds.

fn main() {
    println!("cargo::rerun-if-env-changed=BENCH_MODEL");
    let model = std::env::var("BENCH_MODEL").unwrap_or_else(|_| "../../examples/digits/digits.pt2".into());
    exported_codegen::Builder::new(model).name("model").program(true).compile();
}
