//! The whole path, from a real archive to a verdict: a right golden file passes, and no falsified one gets through.

use cargo_exported::boards::Place;
use cargo_exported::verify::compiler::Compiler;
use cargo_exported::verify::crates::Platform;
use cargo_exported::verify::project::Project;
use cargo_exported::verify::verdict::Status;
use cargo_exported::verify::{Request, verify};
use exported_codegen::options::{Optimize, Target};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A golden file, open for falsification.
struct Golden {
    header: Value,
    manifest: Value,
    data: Vec<u8>,
}

impl Golden {
    fn read(path: &Path) -> Golden {
        let bytes = fs::read(path).expect("a fixture");
        let (length, rest) = bytes.split_first_chunk::<8>().expect("a length");
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let header: Value = serde_json::from_slice(header).expect("a header");
        let manifest = header["__metadata__"]["manifest"].as_str().expect("a manifest");
        Golden { manifest: serde_json::from_str(manifest).expect("JSON"), data: data.to_vec(), header }
    }

    fn write(mut self, path: &Path) {
        self.header["__metadata__"]["manifest"] = json!(self.manifest.to_string());
        let header = self.header.to_string();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &self.data].concat();
        fs::write(path, bytes).expect("written");
    }

    /// The element of an f32 tensor.
    fn element(&mut self, tensor: &str, index: usize) -> &mut [u8; 4] {
        let start = self.header[tensor]["data_offsets"][0].as_u64().expect("an offset") as usize;
        self.data[start + 4 * index..].first_chunk_mut().expect("inside")
    }
}

/// Adds `share` of what is allowed to the element of an output.
fn off_by(golden: &mut Golden, share: f64) {
    let number = |key: &str| golden.manifest[key].as_f64().expect("a number");
    let (rtol, atol) = (number("rtol"), number("atol"));
    let element = golden.element("case.1.out.0", 7);
    let value = f64::from(f32::from_le_bytes(*element));
    *element = ((value + share * (atol + rtol * value.abs())) as f32).to_le_bytes();
}

fn falsify(golden: &mut Golden, how: &str) {
    match how {
        "half the tolerance" => off_by(golden, 0.5),
        "twice the tolerance" => off_by(golden, 2.0),
        "swapped outputs" => golden.manifest["cases"][0]["outputs"].as_array_mut().expect("outputs").swap(0, 1),
        "swapped inputs" => golden.manifest["cases"][0]["inputs"].as_array_mut().expect("inputs").swap(0, 1),
        "missing output" => drop(golden.manifest["cases"][0]["outputs"].as_array_mut().expect("outputs").pop()),
        "missing case" => drop(golden.manifest["cases"].as_array_mut().expect("cases").pop()),
        "wrong dtype" => golden.header["case.0.out.0"]["dtype"] = json!("I32"),
        "wrong shape" => golden.header["case.0.out.0"]["shape"] = json!([5, 20]),
        "an accepted reject" => golden.manifest["reject"][0]["inputs"] = golden.manifest["cases"][0]["inputs"].clone(),
        "a refused case" => golden.manifest["cases"][0]["inputs"] = golden.manifest["reject"][0]["inputs"].clone(),
        _ => {}
    }
}

#[test]
fn falsified_golden_files_are_caught() {
    let expected = [
        ("sin_cos", "untouched", Status::Pass),
        ("sin_cos", "half the tolerance", Status::Pass),
        ("sin_cos", "twice the tolerance", Status::Mismatch),
        ("sin_cos", "swapped inputs", Status::Mismatch),
        ("sin_cos", "missing output", Status::Mismatch),
        ("sin_cos", "missing case", Status::NoGolden),
        ("sin_cos", "no golden", Status::NoGolden),
        ("sin_cos", "wrong dtype", Status::Mismatch),
        ("sin_cos", "wrong shape", Status::Mismatch),
        ("sin_cos", "an accepted reject", Status::WronglyAccepted),
        ("sin_cos", "a refused case", Status::WronglyRefused),
        ("triangles", "untouched", Status::Pass),
        ("triangles", "swapped outputs", Status::Mismatch),
    ];
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let project = Project::find(None).expect("cargo knows this project");
    let scratch = project.folder.join("tests/doctored");
    fs::create_dir_all(&scratch).expect("a folder");
    let prepare = |(model, how, _): &(&str, &str, Status)| -> PathBuf {
        let stem = fixtures.join(if *model == "sin_cos" { "layouts/sin_cos.2.15.0" } else { "gather/triangles" });
        let archive = scratch.join(format!("{model}_{}.pt2", how.replace(' ', "_")));
        fs::copy(format!("{}.pt2", stem.display()), &archive).expect("copied");
        if *how != "no golden" {
            let mut golden = Golden::read(Path::new(&format!("{}.golden.safetensors", stem.display())));
            falsify(&mut golden, how);
            golden.write(&archive.with_extension("golden.safetensors"));
        }
        archive
    };
    let archives = expected.iter().map(prepare).collect();
    let limit = Duration::from_secs(60);
    let request = Request {
        archives,
        platform: Platform { place: Place::Host, release: false },
        quantization: Default::default(),
        layers: false,
        level: 0,
        limit,
        ops: None,
    };
    let compiler = Compiler {
        target: Target::new(env!("HOST")),
        optimize: Optimize::Speed,
        multiply_add: None,
        quantization: Default::default(),
        winograd: Default::default(),
        layers: false,
    };
    let project = Project { folder: scratch, ..project };
    let report = verify(&request, &compiler, &project, &|_| {}).expect("verification works");
    let found: Vec<Status> = report.archives.iter().map(|entry| entry.status).collect();
    assert_eq!(found, expected.map(|(.., status)| status), "{report}");
}
