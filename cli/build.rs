//! Tells the tool for which machine it was built: models are compiled for it unless the user names another target.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=HOST={}", std::env::var("TARGET").expect("cargo sets TARGET"));
}
