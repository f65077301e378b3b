//! Writes the verification programs: one cargo workspace, a few models in each of its packages.
//!
//! Several models share a program because linking costs more than compiling a small model; they do not share all of one,
//! because cargo builds packages in parallel and a model that does not compile takes its program with it.

use super::project::Project;
use crate::boards::Place;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Generated code of one model, ready to be built.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its number, which names its module.
    pub number: usize,
    /// The Rust code.
    pub code: String,
    /// The user's code for its custom operators.
    pub ops: Option<String>,
    /// What the code includes, beside it.
    pub weights: Vec<u8>,
    /// Greatest number of inputs or outputs of its calls.
    pub ports: usize,
    /// Greatest room that the inputs of a call need.
    pub inputs: usize,
    /// Elementary operations of all its calls, roughly.
    pub work: u64,
}

/// Models that share a program.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Name of the package and program.
    pub name: String,
    /// Indices into the units.
    pub units: Vec<usize>,
    /// They have so much to compute that optimizing their code is worth its time.
    pub heavy: bool,
}

/// What to build for.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// Where it runs.
    pub place: Place,
    /// With cargo's release profile.
    pub release: bool,
}

impl Unit {
    /// Its module: the generated code, and the user's code as a module in it.
    fn source(&self) -> String {
        let path = module(self.number) + OPS;
        let ops = self.ops.as_ref().map(|_| format!("\n#[path = {path:?}]\npub mod implementation;\n"));
        self.code.clone() + &ops.unwrap_or_default()
    }

    /// Whether running it unoptimized would take longer than optimizing it.
    fn is_heavy(&self) -> bool {
        self.work / HEAVY > self.code.len() as u64
    }

    /// Rust that makes a model.
    fn model(&self) -> String {
        let module = module(self.number);
        let ops = self.ops.as_ref().map(|_| format!("<{module}::implementation::Ops as Default>::default()"));
        format!("{module}::Model::new({})", ops.unwrap_or_default())
    }
}

/// Bytes of source per program on this machine, about 60 small models, which share compiled kernels: 8 per program take 1.7
/// times as long as 40. But rustc's memory grows with them: 5 MB took it 8 GB.
const SOURCE: usize = 2_000_000;
/// Work per byte of source above which optimizing pays: a byte costs 0.1 ms more to compile with optimization, and without it
/// about 20 million operations take a second.
const HEAVY: u64 = 2_000;
/// Share of a board's flash that the models of a program fill at most, in eighths: their code is only estimated.
const BOARD_EIGHTHS: usize = 5;
/// Bytes counted for the code of a model on a board.
const BOARD_CODE: usize = 60_000;

/// Name of a unit's module.
pub fn module(number: usize) -> String {
    format!("model_{number}")
}

/// Name of the file that a unit's code includes.
pub fn weights_file(number: usize) -> String {
    format!("model_{number}.weights")
}

/// Extension of the file with a unit's custom operators.
pub const OPS: &str = ".ops.rs";

/// Divides the units into programs.
pub fn batches(units: &[Unit], platform: Platform) -> Vec<Batch> {
    let mut batches = Vec::new();
    for heavy in [false, true] {
        let of_kind = units.iter().enumerate().filter(|(_, unit)| unit.is_heavy() == heavy);
        for group in groups(of_kind, platform) {
            batches.push(Batch { name: format!("batch_{}", batches.len()), units: group, heavy });
        }
    }
    batches
}

/// Units that share a program: as many as fit into the compiler's memory here, into flash on a board.
fn groups<'u>(units: impl Iterator<Item = (usize, &'u Unit)>, platform: Platform) -> Vec<Vec<usize>> {
    let room = match platform.place {
        Place::Board(board) => board.flash / 8 * BOARD_EIGHTHS,
        Place::Host | Place::Foreign(_) => SOURCE,
    };
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, unit) in units {
        let size = match platform.place {
            Place::Board(_) => unit.weights.len() + BOARD_CODE,
            Place::Host | Place::Foreign(_) => unit.code.len(),
        };
        match groups.last_mut() {
            Some(group) if bytes + size <= room => group.push(index),
            _ => {
                groups.push(vec![index]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    groups
}

impl Platform {
    /// Folder of the workspace under the project's.
    pub fn folder(self, project: &Project) -> PathBuf {
        let profile = if self.release { "release" } else { "dev" };
        project.folder.join(format!("{}-{profile}", self.place.name()))
    }

    /// Writes the workspace with these members. Files that did not change keep their time, so that cargo does not
    /// compile them again.
    pub fn write(self, project: &Project, batches: &[Batch], units: &[Unit]) -> io::Result<()> {
        let folder = self.folder(project);
        fs::create_dir_all(&folder)?;
        let members: Vec<String> = batches.iter().map(|batch| format!("{:?}", batch.name)).collect();
        let mut manifest = self.root_manifest(&members.join(", "));
        for batch in batches.iter().filter(|batch| batch.heavy && self.is_unoptimized()) {
            let _ = write!(manifest, "\n[profile.dev.package.{}]\nopt-level = 1\n", batch.name);
        }
        update(&folder.join("Cargo.toml"), manifest.as_bytes())?;
        if let Some(lock) = project.lock.as_ref().filter(|_| !folder.join("Cargo.lock").exists()) {
            fs::copy(lock, folder.join("Cargo.lock"))?;
        }
        batches.iter().try_for_each(|batch| self.write_batch(project, &folder, batch, units))
    }

    fn write_batch(self, project: &Project, folder: &Path, batch: &Batch, units: &[Unit]) -> io::Result<()> {
        let sources = folder.join(&batch.name).join("src");
        fs::create_dir_all(&sources)?;
        update(&folder.join(&batch.name).join("Cargo.toml"), self.manifest(project, &batch.name).as_bytes())?;
        update(&sources.join("job.rs"), include_bytes!("harness/job.rs"))?;
        let members: Vec<&Unit> = batch.units.iter().filter_map(|index| units.get(*index)).collect();
        let main = if self.place.board().is_some() {
            update(&sources.join("firmware.rs"), include_bytes!("harness/firmware.rs"))?;
            firmware_main(&members)
        } else {
            update(&sources.join("host.rs"), include_bytes!("harness/host.rs"))?;
            host_main(&members)
        };
        for unit in members {
            update(&sources.join(module(unit.number) + ".rs"), unit.source().as_bytes())?;
            if let Some(ops) = &unit.ops {
                update(&sources.join(module(unit.number) + OPS), ops.as_bytes())?;
            }
            update(&sources.join(weights_file(unit.number)), &unit.weights)?;
        }
        update(&sources.join("main.rs"), main.as_bytes())
    }

    fn is_unoptimized(self) -> bool {
        self.place.board().is_none() && !self.release
    }

    fn root_manifest(self, members: &str) -> String {
        // Verification wants overflow and bounds to be checked and short compile times; with `--release` it wants what the
        // user will ship.
        let profile = match (self.place.board(), self.release) {
            (None, false) => {
                "[profile.dev]\ndebug = false\nincremental = false\n\n[profile.dev.package.\"*\"]\nopt-level = 2\n"
            }
            (None, true) => "[profile.release]\nincremental = false\n",
            // At 2, copies are unrolled into stores that LLVM merges wrongly on Arm: llvm/llvm-project#223630.
            (Some(_), false) => {
                "[profile.dev]\nopt-level = \"s\"\ndebug = false\nincremental = false\npanic = \"abort\"\n"
            }
            (Some(_), true) => {
                "[profile.release]\nopt-level = \"s\"\nlto = true\ncodegen-units = 1\npanic = \"abort\"\n"
            }
        };
        format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n{profile}")
    }

    fn manifest(self, project: &Project, name: &str) -> String {
        let (features, board) = match self.place.board() {
            Some(_) => ("\"program\"", project.board_dependency()),
            None => ("\"program\", \"std\"", String::new()),
        };
        let runtime = project.runtime_dependency(features);
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\n{runtime}\n{board}\n"
        )
    }
}

fn host_main(units: &[&Unit]) -> String {
    let mut text = String::from("mod host;\nmod job;\n");
    for unit in units {
        let _ = writeln!(text, "#[allow(warnings)]\nmod {};", module(unit.number));
    }
    text.push_str("\nfn main() -> std::process::ExitCode {\n    host::main(|model, job, result| match model {\n");
    for unit in units {
        let Unit { number, ports, inputs, .. } = unit;
        let model = unit.model();
        let _ = writeln!(text, "        \"{number}\" => host::serve::<_, {ports}>({model}, {inputs}, job, result),");
    }
    text.push_str("        _ => Err(format!(\"no model {model}\")),\n    })\n}\n");
    text
}

fn firmware_main(units: &[&Unit]) -> String {
    let mut text = String::from("#![no_std]\n#![no_main]\n\nmod firmware;\nmod job;\n");
    let (mut workspaces, mut pools, mut arms) = (String::new(), String::new(), String::new());
    for unit in units {
        let Unit { number, ports, inputs, .. } = unit;
        let (module, model) = (module(*number), unit.model());
        let _ = writeln!(text, "#[allow(warnings)]\nmod {module};");
        let _ = write!(workspaces, "{module}::SIGNATURE.workspace_bytes, ");
        let _ = write!(pools, "firmware::pool(&{module}::SIGNATURE, {inputs}), ");
        let _ = writeln!(arms, "        {number} => firmware::serve::<_, {ports}>({model}, workspace, pool, files),");
    }
    let _ = write!(
        text,
        "use exported_runtime::StaticWorkspace;\n\nexported_board::entry!(main);\n\n\
         static WORKSPACE: StaticWorkspace<{{ firmware::greatest(&[{workspaces}]) }}> = StaticWorkspace::new();\n\
         static POOL: StaticWorkspace<{{ firmware::greatest(&[{pools}]) }}> = StaticWorkspace::new();\n\n\
         fn main() -> ! {{\n    firmware::main(&WORKSPACE, &POOL, |model, workspace, pool, files| match model {{\n{arms}        \
         _ => Err(\"no such model\"),\n    }})\n}}\n"
    );
    text
}

/// Writes a file unless it has this content already.
fn update(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(code: usize) -> Unit {
        let code = " ".repeat(code);
        Unit { number: 0, code, ops: None, weights: Vec::new(), ports: 1, inputs: 1, work: 0 }
    }

    #[test]
    fn many_layers_are_optimized_only_for_much_work() {
        let platform = Platform { place: Place::Host, release: false };
        let units = [1_000, 100_000].map(|code| Unit { work: 50_000_000, ..unit(code) });
        let kinds: Vec<_> = batches(&units, platform).into_iter().map(|batch| (batch.units, batch.heavy)).collect();
        assert_eq!(kinds, [(vec![1], false), (vec![0], true)]);
    }

    #[test]
    fn a_program_has_no_more_source_than_the_compiler_has_memory_for() {
        let platform = Platform { place: Place::Host, release: false };
        let units = [SOURCE / 2, SOURCE / 2, 1, 2 * SOURCE, SOURCE - 1].map(unit);
        let groups: Vec<Vec<usize>> = batches(&units, platform).into_iter().map(|batch| batch.units).collect();
        assert_eq!(groups, [vec![0, 1], vec![2], vec![3], vec![4]]);
    }
}
