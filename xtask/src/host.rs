//! What a user of a host pays: the time of a release build from scratch, and the size of the program.

use crate::tools::{output, root};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// MobileNetV2, where it is present.
const MODEL: &str = "../shared/bench/cpu/models/mbv2/model.pt2";
const OWN: &str = "examples/digits/digits.pt2";

const MAIN: &str = "\
#![forbid(unsafe_code)]
mod model {
    exported::include_exported!(\"model.pt2\");
}
fn main() {
    let model: Box<dyn exported::rt::program::Program> = Box::new(model::Model::new());
    // A call that the optimizer cannot rule out keeps the model in the program.
    println!(\"{}\", std::hint::black_box(model).signature().weight_bytes);
}
";

/// Makes a project of its own with one model, builds it with two jobs, and prints time and sizes.
pub fn print() -> Result<(), String> {
    let model = [MODEL, OWN].map(|path| root().join(path)).into_iter().find(|path| path.is_file());
    let model = model.ok_or("no model")?;
    let folder = root().join("target/host");
    let told = |e: std::io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(told)?;
    }
    std::fs::create_dir_all(folder.join("src")).map_err(told)?;
    std::fs::copy(&model, folder.join("src/model.pt2")).map_err(told)?;
    std::fs::write(folder.join("src/main.rs"), MAIN).map_err(told)?;
    std::fs::write(folder.join("Cargo.toml"), manifest()).map_err(told)?;
    // Which packages there are and their text is not what is measured.
    cargo(&folder, &["fetch"])?;
    let start = Instant::now();
    cargo(&folder, &["build", "--release", "--offline", "-j2"])?;
    let time = start.elapsed();
    let program = folder.join("target/release/host");
    let bytes = std::fs::metadata(&program).map_err(told)?.len();
    let weights = output(&mut Command::new(&program))?;
    let weights: u64 = weights.trim().parse().map_err(|_| format!("{weights} is no size"))?;
    println!("{}: built from scratch in {:.1} s with two jobs", model.display(), time.as_secs_f64());
    let rest = bytes.checked_sub(weights).ok_or("the program is smaller than its weights: the model is not in it")?;
    println!("stripped program {bytes} bytes, of which weights {weights}, all else {rest}");
    Ok(())
}

fn manifest() -> String {
    let exported = root().join("exported");
    format!(
        "[package]\nname = \"host\"\nedition = \"2024\"\n\n[dependencies]\nexported = {{ path = {:?}, features = [\"program\"] }}\n\n\
         [profile.release]\nstrip = true\n\n[workspace]\n",
        exported.display().to_string()
    )
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = crate::tools::cargo(arguments);
    crate::tools::run(command.current_dir(folder).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS"))
}
