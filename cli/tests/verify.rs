//! The judge, judged: hand-written "generated" code that is right or wrong in a known way, real cargo, real processes.

use cargo_exported::boards::Place;
use cargo_exported::verify::crates::Platform;
use cargo_exported::verify::project::Project;
use cargo_exported::verify::verdict::Status;
use cargo_exported::verify::{Compile, Generated, Report, Request, Source, verify};
use exported_codegen::diag::{Diagnostic, Errors};
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A model `[x + 1, 2 x]` over one to four numbers, and what it does wrong, as Rust.
const MODEL: &str = r#"
use ::exported_runtime as rt;
use rt::program::{CallError, Dim, Port, PortKind, Program, Signature, Value, ValueMut};

const VECTOR: PortKind = PortKind::Tensor { dtype: DTYPE, dims: &[Dim { min: 1, max: 8 }] };
const INPUT: PortKind = PortKind::Tensor { dtype: rt::DType::F32, dims: &[Dim { min: 1, max: 4 }] };
pub static SIGNATURE: Signature = Signature {
    name: "plus",
    inputs: &[Port { name: "x", kind: INPUT, mutates: None }],
    outputs: &[
        Port { name: "_0", kind: VECTOR, mutates: None },
        Port { name: "_1", kind: VECTOR, mutates: None },
    ],
    workspace_bytes: 16,
    state_bytes: 0,
    weight_bytes: 4,
};
static ONE: &[u8] = include_bytes!(WEIGHTS);

pub struct Model;

impl Model {
    pub fn new() -> Self {
        Model
    }
}

impl Program for Model {
    fn signature(&self) -> &'static Signature {
        &SIGNATURE
    }

    fn forward_watched(
        &mut self,
        _: rt::Level,
        workspace: &mut rt::Workspace<'_>,
        inputs: &[Value<'_>],
        outputs: &mut [ValueMut<'_>],
        _: Option<&mut dyn FnMut(usize)>,
    ) -> Result<(), CallError> {
        workspace.arena(16)?;
        let one = f32::from_le_bytes([ONE[0], ONE[1], ONE[2], ONE[3]]);
        let (Value::Tensor { shape: in_shape, data: in_data, .. }, [first, second]) = (&inputs[0], outputs) else {
            return Err(CallError::InputKind { input: 0 });
        };
        CHECK
        for (output, factor, term) in [(first, 1.0, one), (second, 2.0, 0.0)] {
            let ValueMut::Tensor { shape, data } = output else { return Err(CallError::OutputBuffer { output: 0 }) };
            shape.copy_from_slice(in_shape);
            for (to, from) in data.chunks_exact_mut(4).zip(in_data.chunks_exact(4)) {
                let x = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
                to.copy_from_slice(&VALUE.to_le_bytes());
            }
        }
        Ok(())
    }

    fn reset(&mut self) {}

    fn words(&self) -> &'static rt::Words {
        &rt::Words::NONE
    }
}
"#;

const CHECK: &str = "inputs[0].tensor(0, &SIGNATURE.inputs[0])?;
        if in_shape[0] > 4 {
            let (demand, found) = (rt::Demand::AtMost, in_shape[0] as i64);
            return Err(rt::Error::Shape { input: 0, dim: 0, demand, bound: 4, found }.into());
        }";
const VALUE: &str = "(x * factor + term)";

/// What stands in an "archive" of these tests says what to make of it.
struct Fake;

impl Compile for Fake {
    fn compile(&self, source: Source<'_>) -> Result<Generated, Errors> {
        let wish = std::str::from_utf8(source.bytes).expect("a word");
        let (mut check, mut value, mut dtype) = (CHECK, VALUE, "rt::DType::F32");
        match wish {
            "twice the tolerance" => value = "(x * factor + term + 2e-3)",
            "half the tolerance" => value = "(x * factor + term + 5e-4)",
            "swapped" => value = "(x * (3.0 - factor) + (one - term))",
            "wrong dtype" => dtype = "rt::DType::I32",
            "accepts everything" => check = "",
            "refuses everything" => {
                check = "if count(inputs) > 0 { return Err(CallError::InputConstant { input: 0 }); }"
            }
            "panics" => check = "assert!(in_data.is_empty(), \"told to\");",
            "does not end" => check = "while inputs.len() == 1 { core::hint::spin_loop(); }",
            "does not compile" => value = "nonsense(x)",
            "unsupported" => return Err(Diagnostic::unsupported("operator `aten.nonsense`").into()),
            "refused" => return Err(Diagnostic::violated("train mode").into()),
            "damaged" => return Err(Diagnostic::damaged("no zip").into()),
            "compiler panics" => panic!("told to"),
            _ => {}
        }
        let code = MODEL.replace("CHECK", check).replace("VALUE", value);
        let code = code.replace("DTYPE", dtype).replace("WEIGHTS", source.weights);
        let code = code + "\nfn count(inputs: &[Value<'_>]) -> usize { inputs.len() }\n";
        let work = if wish == "right" { u64::MAX } else { 0 };
        Ok(Generated {
            code,
            weights: 1f32.to_le_bytes().to_vec(),
            notes: vec![format!("made for {wish}")],
            work,
            ..Generated::default()
        })
    }
}

/// Writes a golden file with one tensor per name.
fn write_golden(path: &Path, tensors: &[(&str, &[f32])], manifest: &serde_json::Value) {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": [values.len()], "data_offsets": [start, data.len()]});
        header.insert((*name).into(), entry);
    }
    header.insert("__metadata__".into(), json!({"manifest": manifest.to_string()}));
    let header = serde_json::Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    fs::write(path, bytes).expect("written");
}

/// A folder of one archive per word, each with the same golden file.
fn archives(folder: &Path, words: &[&str]) -> Vec<PathBuf> {
    fs::create_dir_all(folder).expect("a folder");
    let one = |name: &str| json!({"tensor": name});
    let manifest = json!({
        "torch": "2.15.0", "source": "by hand", "rtol": 0.0, "atol": 1e-3,
        "cases": [
            {"inputs": [one("case.0.in.0")], "outputs": [one("case.0.out.0"), one("case.0.out.1")], "unknown": 1},
            {"inputs": [one("case.1.in.0")], "outputs": [one("case.1.out.0"), one("case.1.out.1")]}
        ],
        "reject": [{"inputs": [one("reject.0.in.0")], "why": "too long", "torch_raises": true}]
    });
    let tensors: [(&str, &[f32]); 7] = [
        ("case.0.in.0", &[0.5, 3.0]),
        ("case.0.out.0", &[1.5, 4.0]),
        ("case.0.out.1", &[1.0, 6.0]),
        ("case.1.in.0", &[8.0]),
        ("case.1.out.0", &[9.0]),
        ("case.1.out.1", &[16.0]),
        ("reject.0.in.0", &[0.0; 5]),
    ];
    let write = |word: &&str| {
        let path = folder.join(word.replace(' ', "_") + ".pt2");
        fs::write(&path, word).expect("written");
        let golden = path.with_extension("golden.safetensors");
        match *word {
            "no golden" => {}
            "damaged golden" => fs::write(golden, "not a container").expect("written"),
            "missing tensor" => write_golden(&golden, &tensors[1..], &manifest),
            "missing case" => {
                let mut fewer = manifest.clone();
                fewer["cases"].as_array_mut().expect("cases").pop();
                write_golden(&golden, &tensors, &fewer);
            }
            _ => write_golden(&golden, &tensors, &manifest),
        }
        path
    };
    words.iter().map(write).collect()
}

fn run(name: &str, words: &[&str], place: Place) -> Report {
    let project = Project::find(None).expect("cargo knows this project");
    let scratch = project.folder.join("tests").join(name);
    let archives = archives(&scratch.join("archives"), words);
    let project = Project { folder: scratch, ..project };
    // An emulator takes longer to start than a loop without end needs to be known as one.
    let limit = Duration::from_secs(if place.emulator().is_some() { 60 } else { 10 });
    let request = Request {
        archives,
        platform: Platform { place, release: false },
        quantization: Default::default(),
        layers: false,
        level: 0,
        limit,
        ops: None,
    };
    verify(&request, &Fake, &project, &|_| {}).expect("verification works")
}

#[test]
fn every_kind_of_fault_is_caught() {
    let expected = [
        ("right", Status::Pass, ""),
        ("half the tolerance", Status::Pass, ""),
        ("twice the tolerance", Status::Mismatch, "case 0, output 0: Mismatched elements: 2 / 2 (100.0%)"),
        ("swapped", Status::Mismatch, "case 0, output 0"),
        ("wrong dtype", Status::Mismatch, "'dtype' do not match: i32 != f32"),
        ("accepts everything", Status::WronglyAccepted, "reject 0 was accepted: too long"),
        ("refuses everything", Status::WronglyRefused, "case 0 was refused: input 0 has another value"),
        ("panics", Status::Bug, "told to"),
        ("does not end", Status::Bug, "did not end within 10 s"),
        ("does not compile", Status::Bug, "cannot find function `nonsense`"),
        ("unsupported", Status::Unsupported, "operator `aten.nonsense`"),
        ("refused", Status::Refused, "train mode"),
        ("damaged", Status::WronglyRefused, "no zip"),
        ("compiler panics", Status::Bug, "the compiler panicked: told to"),
        ("no golden", Status::NoGolden, "no_golden.golden.safetensors"),
        ("damaged golden", Status::NoGolden, "longer than the file"),
        ("missing tensor", Status::NoGolden, "case 0: tensor `case.0.in.0` is missing"),
        ("missing case", Status::NoGolden, "tensor `case.1.in.0` belongs to no entry"),
    ];
    let words: Vec<&str> = expected.iter().map(|(word, ..)| *word).collect();
    let report = run("host", &words, Place::Host);
    for ((word, status, message), entry) in expected.into_iter().zip(&report.archives) {
        assert_eq!(entry.status, status, "{word}: {entry:?}");
        let found = entry.reasons.iter().any(|reason| reason.message.contains(message));
        assert!(found || message.is_empty(), "{word}: {entry:?}");
        assert_eq!(entry.reasons.is_empty(), status == Status::Pass, "{word}: {entry:?}");
    }
    assert_eq!((report.archives[0].cases, report.archives[0].rejects), (2, 1));
    assert_eq!(report.archives[0].notes, ["made for right"]);
    assert!(!report.passed(true));
}

/// Says why a place is not tested, past the capture of what tests print.
fn said(why: &str) {
    let _ = writeln!(std::io::stderr(), "other_places_give_the_same_verdicts: not tested, for {why}");
}

/// Whether the compiler has the libraries of a target.
fn is_installed(target: &str) -> bool {
    let asked = std::process::Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    asked.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir())
}

/// The harness for other places is checked where emulator and target are installed, as the section `conformance` of continuous
/// integration has them.
#[test]
fn other_places_give_the_same_verdicts() {
    for place in ["m4f", "riscv32", "aarch64"].map(|name| Place::named(name).expect("a place")) {
        let (emulator, package) = place.emulator().expect("an emulator");
        if std::process::Command::new(emulator).arg("--version").output().is_err() {
            said(&format!("{emulator} (package {package}) is not installed"));
            continue;
        }
        let target = place.target().expect("a target");
        if !is_installed(target) {
            said(&format!("`rustup target add {target}` was not run"));
            continue;
        }
        let words = ["right", "twice the tolerance", "accepts everything", "panics"];
        let report = run(place.name(), &words, place);
        let found: Vec<Status> = report.archives.iter().map(|entry| entry.status).collect();
        let expected = [Status::Pass, Status::Mismatch, Status::WronglyAccepted, Status::Bug];
        assert_eq!(found, expected, "{report}");
        assert!(report.archives[3].reasons[0].message.contains("panicked at"), "{report}");
    }
}
