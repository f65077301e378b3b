//! Where verification happens: the runtime it builds against, and the folder it builds in.

use serde::Deserialize;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The project around the current folder.
#[derive(Clone, Debug)]
pub struct Project {
    /// Folder for generated crates and what cargo builds from them.
    pub folder: PathBuf,
    /// `Cargo.lock` of the project, so that the same versions are used and nothing needs the network.
    pub lock: Option<PathBuf>,
    /// Folder of the runtime's package, if the project knows it.
    pub runtime: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// The version of everything: tool, compiler and runtime fit together only at the same one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    // Settings of an outer cargo would change what is built.
    for name in ["CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    command
}

impl Project {
    /// Asks cargo about the current folder; outside a project, a folder `target` there takes the results.
    pub fn find(manifest: Option<&Path>) -> Result<Project, String> {
        let Some(metadata) = metadata(manifest)? else {
            let here = env::current_dir().map_err(|e| format!("the current folder is unknown: {e}"))?;
            return Ok(Project { folder: here.join("target/exported-verify"), lock: None, runtime: None });
        };
        let runtime = metadata.packages.iter().find(|p| p.name == "exported-runtime" && p.version == VERSION);
        let lock = metadata.workspace_root.join("Cargo.lock");
        Ok(Project {
            folder: metadata.target_directory.join("exported-verify"),
            lock: lock.exists().then_some(lock),
            runtime: runtime.and_then(|p| p.manifest_path.parent()).map(Path::to_path_buf),
        })
    }

    /// The runtime as a dependency, with these features.
    pub fn runtime_dependency(&self, features: &str) -> String {
        let place = self.runtime.as_deref().map(|folder| format!(", path = {}", toml_text(folder))).unwrap_or_default();
        format!(
            "exported-runtime = {{ version = \"={VERSION}\"{place}, default-features = false, features = [{features}] }}"
        )
    }

    /// The board's crate as a dependency: beside the runtime in the repository, else from the registry.
    pub fn board_dependency(&self) -> String {
        let folder = self.runtime.as_deref().and_then(Path::parent).map(|root| root.join("firmware/board"));
        let place = folder.filter(|folder| folder.join("Cargo.toml").exists());
        let place = place.map(|folder| format!(", path = {}", toml_text(&folder))).unwrap_or_default();
        format!("exported-board = {{ version = \"={VERSION}\"{place} }}")
    }
}

/// What cargo says of the project around the current folder; nothing outside of one.
fn metadata(manifest: Option<&Path>) -> Result<Option<Metadata>, String> {
    let ask = |how: &[&str]| {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1"]).args(how);
        if let Some(manifest) = manifest {
            command.arg("--manifest-path").arg(manifest);
        }
        command.output().map_err(|e| format!("cargo cannot be run: {e}"))
    };
    // A build on this machine fetches what it needs for this machine, which is all there is without the network.
    let mut output = ask(&["--offline", "--filter-platform", "host-tuple"])?;
    if !output.status.success() {
        output = ask(&[])?;
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map(Some).map_err(|e| format!("cargo metadata: {e}")),
        false if manifest.is_none() && reason.contains("could not find `Cargo.toml`") => Ok(None),
        false => Err(format!("cargo cannot tell what the project is made of: {}", reason.trim_end())),
    }
}

/// A path as a TOML string.
fn toml_text(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}
