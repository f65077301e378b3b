//! Runs commands, and finds or installs what they need. Whatever is installed, and which way, is printed.

use crate::boards::Foreign;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Prints the command, runs it, prints the time it took, and turns a failure into an error.
pub fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", shown(command));
    let start = Instant::now();
    let status = command.status().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    println!("  {} s", start.elapsed().as_secs());
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", brief(command))) }
}

/// The start of a command that was shown in full: some name hundreds of models.
fn brief(command: &Command) -> String {
    let text = shown(command);
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("{}: {e}", shown(command)))?;
    if !output.status.success() {
        return Err(format!("`{}` ended with {}", shown(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` printed no UTF-8", shown(command)))
}

/// `cargo` with these arguments, in the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    // Under `cargo xtask` these name the toolchain that runs us; `cargo +NAME` must be free to choose another.
    for key in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(key);
    }
    command.current_dir(root()).args(arguments);
    command
}

fn shown(command: &Command) -> String {
    let environment = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}={:?} ", key.to_str()?, value?.to_str()?.replace(&root().display().to_string(), ".")))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|w| w.to_string_lossy().replace(&root().display().to_string(), ".")).collect();
    environment.collect::<String>() + &words.join(" ")
}

fn succeeds(command: &mut Command) -> bool {
    println!("$ {}", shown(command));
    command.status().is_ok_and(|status| status.success())
}

/// How code for a bare-metal target is built on this machine.
pub enum Toolchain {
    /// rustup has, or got, the target.
    Rustup,
    /// Debian's compiler with a `core` built from its source; the sysroot that holds it.
    Debian(PathBuf),
}

impl Toolchain {
    /// Finds a toolchain for `target`, rustup's first.
    pub fn of(target: &str) -> Result<Self, String> {
        if rustup_has(target) {
            return Ok(Toolchain::Rustup);
        }
        println!("target {target}: rustup refuses it, trying Debian's compiler with its own core source");
        debian_sysroot(target).map(Toolchain::Debian)
    }

    /// `cargo` that builds for `target` with this toolchain.
    pub fn cargo(&self, target: &str, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command.args(["--target", target]);
        if let Toolchain::Debian(sysroot) = self {
            debian(&mut command, target);
            command.env("RUSTFLAGS", format!("--sysroot={}", sysroot.display()));
            command.env("CARGO_TARGET_DIR", root().join("target/debian"));
        }
        command
    }

    /// Makes a command of [`Toolchain::cargo`] build for this core.
    pub fn core(&self, command: &mut Command, cpu: &str) {
        let sysroot = match self {
            Toolchain::Rustup => String::new(),
            Toolchain::Debian(sysroot) => format!("--sysroot={} ", sysroot.display()),
        };
        command.env("RUSTFLAGS", format!("{sysroot}-Ctarget-cpu={cpu}"));
    }
}

/// Whether rustup has, or gets, the target.
fn rustup_has(target: &str) -> bool {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    if installed.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).lines().any(|line| line == target)) {
        return true;
    }
    let added = succeeds(Command::new("rustup").args(["target", "add", target]));
    if added {
        println!("target {target}: added by rustup");
    }
    added
}

/// Makes sure that programs for another processor can be built and run.
pub fn ensure_foreign(foreign: &Foreign) -> Result<(), String> {
    let Foreign { target, emulator, package, .. } = foreign;
    if !rustup_has(target) {
        return Err(format!(
            "programs for {target} need the standard library that `rustup target add {target}` installs"
        ));
    }
    let found = || Command::new(emulator).arg("--version").output().is_ok();
    if !found() {
        apt_install(&[package], None).map_err(|e| format!("{emulator} of the package `{package}` is missing: {e}"))?;
    }
    if found() { Ok(()) } else { Err(format!("the package `{package}` has no {emulator}")) }
}

fn debian(command: &mut Command, target: &str) {
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace(['-', '.'], "_"));
    let path = format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default());
    command.env("RUSTC", "/usr/bin/rustc").env("PATH", path).env(linker, "ld.lld");
}

/// Builds `core` and `alloc` alone with Debian's compiler, and collects them in a sysroot. Only this step may use unstable
/// features: the project's own code is then built without them, or code that needs nightly would go unnoticed.
fn debian_sysroot(target: &str) -> Result<PathBuf, String> {
    let folder = root().join("target/debian-sysroot").join(target);
    let libraries = folder.join("lib/rustlib").join(target).join("lib");
    if libraries.read_dir().is_ok_and(|mut found| found.next().is_some()) {
        return Ok(folder);
    }
    apt_install(&["rustc-web", "cargo-web", "rust-web-src", "lld"], None)?;
    let seed = folder.join("seed");
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(&libraries).map_err(fail)?;
    std::fs::create_dir_all(seed.join("src")).map_err(fail)?;
    let manifest = "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(seed.join("Cargo.toml"), manifest).map_err(fail)?;
    std::fs::write(seed.join("src/lib.rs"), "#![no_std]\n").map_err(fail)?;
    let mut build = Command::new("cargo");
    build.current_dir(&seed).args(["build", "--release", "-Zbuild-std=core,alloc", "--target", target]);
    debian(&mut build, target);
    build.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", seed.join("target"));
    for key in ["CARGO", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        build.env_remove(key);
    }
    run(&mut build)?;
    let built = seed.join("target").join(target).join("release/deps");
    for entry in std::fs::read_dir(&built).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libseed") {
            std::fs::copy(&path, libraries.join(name)).map_err(fail)?;
        }
    }
    println!("target {target}: core built by Debian's rustc");
    Ok(folder)
}

/// Makes sure that both emulators are there, in a version that knows all boards.
pub fn ensure_qemu() -> Result<(), String> {
    let version = |name: &str| {
        let output = Command::new(name).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_whitespace().nth(3)?.split('.').next()?.parse::<u32>().ok()
    };
    let found = || version("qemu-system-arm") >= Some(9) && version("qemu-system-riscv32") >= Some(9);
    if found() {
        println!("QEMU: found");
        return Ok(());
    }
    // bookworm's own QEMU 7.2 is too old; its backports are in the same archive, under another suite name.
    let codename = output(Command::new("sh").args(["-c", ". /etc/os-release && echo $VERSION_CODENAME"]))?;
    let suite = match codename.trim() {
        "bookworm" => Some("bookworm-backports"),
        _ => None,
    };
    apt_install(&["qemu-system-arm", "qemu-system-misc"], suite)?;
    if found() { Ok(()) } else { Err("the installed QEMU is older than 9".to_owned()) }
}

fn apt_install(packages: &[&str], suite: Option<&str>) -> Result<(), String> {
    if let Some(suite) = suite {
        let sources = "/etc/apt/sources.list.d/debian.sources";
        let text = std::fs::read_to_string(sources).map_err(|e| format!("{sources}: {e}"))?;
        if !text.contains(suite) {
            let release = suite.trim_end_matches("-backports");
            let line = format!("Suites: {release} {release}-updates");
            println!("{sources}: adding the suite {suite}");
            std::fs::write(sources, text.replace(&line, &format!("{line} {suite}")))
                .map_err(|e| format!("{sources}: {e}"))?;
        }
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-q", "--no-install-recommends"]).env("DEBIAN_FRONTEND", "noninteractive");
    install.args(suite.map(|suite| ["-t", suite]).into_iter().flatten()).args(packages);
    run(&mut install)
}

/// Makes sure that a toolchain is there, with these components.
pub fn ensure_toolchain(name: &str, components: &[&str]) -> Result<(), String> {
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", name, "--profile", "minimal", "--no-self-update"]);
    let listed = output(Command::new("rustup").args(["toolchain", "list"]))?;
    if listed.lines().any(|line| line.starts_with(name)) {
        // As it is: a newer nightly is no reason for a run to differ from the last one.
        install = Command::new("rustup");
        install.args(["component", "add", "--toolchain", name]).args(components);
        return if components.is_empty() { Ok(()) } else { run(&mut install) };
    }
    for component in components {
        install.args(["--component", component]);
    }
    run(&mut install)
}
