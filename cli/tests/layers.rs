//! `verify --layers` catches what an end-to-end comparison hides: each of three small faults, put into one layer of a
//! quantized network, and the same network without fault passes.

use cargo_exported::boards::Place;
use cargo_exported::verify::crates::Platform;
use cargo_exported::verify::project::Project;
use cargo_exported::verify::verdict::Status;
use cargo_exported::verify::{Compile, Generated, Request, Source, verify};
use exported_codegen::diag::Errors;
use exported_codegen::ir::{Graph, Op};
use exported_codegen::lower::{Field, Kernel, Storage, Work};
use exported_codegen::options::{Options, Quantization, Target, WeightsForm};
use exported_codegen::sym::Expr;
use exported_codegen::{Model, archive, check, emit, import, lower, passes, plan, schema};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LAYERS: [&str; 6] = [
    "conv::Conv",
    "depthwise::Depthwise",
    "matmul::Linear",
    "dot4::Conv",
    "dot4::Linear",
    "dot4::depthwise::Depthwise",
];

/// Compiles with the fault that the name of the archive's folder says.
struct Faulty;

impl Compile for Faulty {
    fn compile(&self, source: Source<'_>) -> Result<Generated, Errors> {
        let folder = source.path.parent().and_then(|folder| folder.file_name());
        let fault = folder.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut options = Options::new("model", Target::new(env!("HOST")));
        (options.program, options.layers) = (true, true);
        options.runtime_path = "::exported_runtime".into();
        let archive = archive::read(source.bytes, &archive::Limits::default())?;
        let program = schema::parse(&archive.program)?;
        let mut graph = import::import(&program, &archive, &options)?;
        passes::cut::run(&mut graph);
        if fault == "no_bias" {
            lose_bias(&mut graph);
        }
        let entry = check::check(&mut graph, &options)?;
        passes::run(&mut graph, &options)?;
        let mut steps = lower::lower(&graph, &options)?;
        match fault.as_str() {
            "floor" => floor(&mut steps),
            "zero_point" => kernel(&mut steps).into_iter().for_each(raise_zero_point),
            _ => {}
        }
        let plan = plan::plan(&steps, &graph.ranges, options.target.alignment())?;
        let layout = plan::Layout::new(&steps, &graph)?;
        let torch_version = program.torch_version;
        let model = Model { torch_version, graph, entry, steps, plan, layout, extra_files: vec![] };
        let output = emit::emit(&model, &options)?;
        let code = output.file(&WeightsForm::Include(source.weights.into()))?;
        Ok(Generated { code, weights: output.weights, ..Generated::default() })
    }
}

/// The bias of the last layer becomes 0.
fn lose_bias(graph: &mut Graph) {
    let biased = |op: &Op| matches!(op, Op::Conv(_, e) | Op::Linear(e) if e.bias);
    let node = graph.nodes.iter().rev().find(|n| biased(&n.op)).expect("a layer");
    let mut bias = node.inputs[2];
    // A quantized one stands behind its dequantization.
    if let Some(n) = graph.nodes.iter().find(|n| n.outputs.contains(&bias) && matches!(n.op, Op::Dequantize { .. })) {
        bias = n.inputs[0];
    }
    let constant = graph.nodes.iter().find_map(|n| match n.op {
        Op::Constant(id) if n.outputs.contains(&bias) => Some(id),
        _ => None,
    });
    let constant = &mut graph.constants[constant.expect("a constant").0 as usize];
    constant.data = vec![0; constant.data.len()].into();
}

/// The last layer whose bias stands by itself.
fn kernel(steps: &mut lower::Steps) -> Option<&mut Kernel> {
    steps.steps.iter_mut().rev().find_map(|step| match &mut step.work {
        Work::Kernel(kernel) => LAYERS.contains(&kernel.path).then_some(kernel),
        _ => None,
    })
}

/// Every sum loses half a quantum before it is rounded: that is a floor.
fn floor(steps: &mut lower::Steps) {
    let kernel = kernel(steps).expect("a layer");
    let region = |name: &str| match kernel.fields.iter().find(|f| f.0 == name) {
        Some((_, Field::Read(region))) => region.buffer.0 as usize,
        Some((_, Field::Option(Some(field)))) => match &**field {
            Field::Read(region) => region.buffer.0 as usize,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let shift = match kernel.fields.iter().find(|f| f.0 == "format") {
        Some((_, Field::Struct(_, fields))) => match &fields[3] {
            ("shift", Field::Usize(shift)) => shift.as_int().expect("a number"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let (bias, factor) = (region("bias"), region("scale"));
    let numbers = |buffer: usize| match &steps.buffers[buffer].storage {
        Storage::Weights(data) => data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect::<Vec<i32>>(),
        other => panic!("{other:?}"),
    };
    let half = |factor: i32| ((1i64 << (shift - 1)) / i64::from(factor.max(1))) as i32;
    let lower = numbers(bias).into_iter().zip(numbers(factor)).flat_map(|(b, f)| b.wrapping_sub(half(f)).to_le_bytes());
    steps.buffers[bias].storage = Storage::Weights(lower.collect::<Vec<u8>>().into());
}

fn raise_zero_point(kernel: &mut Kernel) {
    for (_, field) in &mut kernel.fields {
        if let Field::Struct(_, fields) = field {
            for (_, value) in fields.iter_mut().filter(|f| f.0 == "output_zero") {
                let Field::Int(zero) = value else { panic!("{value:?}") };
                *zero = zero.clone() + Expr::Int(1);
            }
        }
    }
}

/// Each network with each fault, by the name of its file.
fn caught(networks: &[PathBuf], scratch: &str) {
    let expected = [
        ("right", Status::Pass),
        ("floor", Status::Mismatch),
        ("zero_point", Status::Mismatch),
        ("no_bias", Status::Mismatch),
    ];
    let project = Project::find(None).expect("cargo knows this project");
    let scratch = project.folder.join(scratch);
    let mut archives = Vec::new();
    for (fault, _) in expected {
        let folder = scratch.join(fault);
        fs::create_dir_all(&folder).expect("a folder");
        for network in networks {
            let archive = folder.join(network.file_name().expect("a file"));
            fs::copy(network, &archive).expect("copied");
            let golden = "golden.safetensors";
            fs::copy(network.with_extension(golden), archive.with_extension(golden)).expect("copied");
            archives.push(archive);
        }
    }
    let request = Request {
        archives,
        platform: Platform { place: Place::Host, release: false },
        quantization: Quantization::Fused,
        layers: true,
        level: 0,
        limit: Duration::from_secs(120),
        ops: None,
    };
    let project = Project { folder: scratch, ..project };
    let report = verify(&request, &Faulty, &project, &|_| {}).expect("verification works");
    let found: Vec<Status> = report.archives.iter().map(|entry| entry.status).collect();
    let expected: Vec<Status> = expected.iter().flat_map(|(_, status)| vec![*status; networks.len()]).collect();
    assert_eq!(found, expected, "{report}");
}

#[test]
fn small_faults_of_one_layer_are_caught() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/quantized/residual.pt2");
    caught(&[fixture], "tests/layers");
}

#[test]
#[ignore = "needs the MLPerf Tiny networks: EXPORTED_MODELS names the folder above `tiny`"]
fn small_faults_of_the_benchmarks_are_caught() {
    let models = std::env::var_os("EXPORTED_MODELS").expect("EXPORTED_MODELS");
    let network = |name: &str| Path::new(&models).join(format!("tiny/{name}_int8.2.15.0.pt2"));
    caught(&["dscnn_kws", "resnet8", "mobilenet_vww", "fc_ad"].map(network), "tests/benchmarks");
}
