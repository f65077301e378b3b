//! A compiled model as a peer of a side-by-side comparison:
//!
//! ```sh
//! BENCH_MODEL=$PWD/models/resnet8/model.pt2 cargo build --release -p exported-contract
//! target/release/exported-contract models/resnet8 --out /tmp/out [--serve | --warmup W --runs N | --layers]
//!     [--level portable|avx2|avx512]
//! ```
//!
//! Reads `in0.bin`, `in1.bin`, … of the folder (raw little-endian), runs once, writes output *i* to `OUT` + *i* + `.bin`, prints
//! `{"ready":1,"load_ns":..,"first_ns":..,"maxrss_kb":..}`, then for every line `run N` of standard input (or once, without
//! `--serve`) times N calls one by one: `{"n":N,"median_ns":..,"min_ns":..,"cpu_ns":..,"maxrss_kb":..}`.
//!
//! With `--layers` it prints the least time of each layer over N calls beside the share that the report estimates.
#![forbid(unsafe_code)]

use exported::rt::program::{PortKind, Program, Value, ValueMut};
use exported::rt::{Level, Workspace};
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// Multiply-accumulates and estimated share of time of each layer.
const ESTIMATES: &[(u64, f64)] = &include!(concat!(env!("OUT_DIR"), "/estimates.rs"));

mod model {
    include!(concat!(env!("OUT_DIR"), "/model.rs"));
}

/// Eight bytes at a time, so that tensors of any dtype start aligned.
type Words = Vec<u64>;

type Outcome = Result<(), Box<dyn Error>>;

struct Options {
    folder: String,
    out: String,
    serve: bool,
    layers: bool,
    warmup: usize,
    runs: usize,
    level: Level,
}

fn main() -> Outcome {
    let started = Instant::now();
    let options = options()?;
    let model = model::Model::new();
    let signature = model.signature();
    let mut inputs = Vec::new();
    for (i, port) in signature.inputs.iter().enumerate() {
        let bytes = std::fs::read(format!("{}/in{i}.bin", options.folder))?;
        if bytes.len() != port.max_bytes() {
            return Err(
                format!("in{i}.bin has {} bytes, `{}` takes {}", bytes.len(), port.name, port.max_bytes()).into()
            );
        }
        inputs.push((words(&bytes), bytes.len()));
    }
    let shapes: Vec<Vec<usize>> = signature.inputs.iter().map(|p| sizes(p.kind)).collect();
    let mut outputs: Vec<(Words, Vec<usize>)> =
        signature.outputs.iter().map(|p| (vec![0; p.max_bytes().div_ceil(8)], vec![0; p.rank()])).collect();
    let mut workspace = Workspace::boxed(signature.workspace_bytes);
    let load = started.elapsed();

    let mut values = Vec::new();
    for ((port, shape), (data, len)) in signature.inputs.iter().zip(&shapes).zip(&inputs) {
        let PortKind::Tensor { dtype, .. } = port.kind else { return Err("an input that is no tensor".into()) };
        values.push(Value::Tensor { dtype, shape, data: &bytes_of(data)[..*len] });
    }
    let mut slots: Vec<ValueMut<'_>> =
        outputs.iter_mut().map(|(data, shape)| ValueMut::Tensor { shape, data: bytes_of_mut(data) }).collect();
    let level = options.level;
    let mut call = Call { model, level, workspace: &mut workspace, values: &values, slots: &mut slots };
    let first = Instant::now();
    call.run(None)?;
    let first = first.elapsed();
    for (i, slot) in call.slots.iter().enumerate() {
        if let ValueMut::Tensor { data, .. } = slot {
            std::fs::write(format!("{}{i}.bin", options.out), &data[..signature.outputs[i].max_bytes()])?;
        }
    }
    say(&format!(
        "{{\"ready\":1,\"load_ns\":{},\"first_ns\":{},\"maxrss_kb\":{}}}",
        load.as_nanos(),
        first.as_nanos(),
        maxrss_kb()
    ))?;
    if options.layers {
        return layers(options.runs, &mut call);
    }
    if !options.serve {
        for _ in 0..options.warmup {
            call.run(None)?;
        }
        return batch(options.runs, &mut call);
    }
    for line in std::io::stdin().lock().lines() {
        if let Some(n) = line?.strip_prefix("run ") {
            batch(n.trim().parse()?, &mut call)?;
        }
    }
    Ok(())
}

/// A call with all that it needs: nothing is allocated while it is timed.
struct Call<'a, 'v> {
    model: model::Model,
    level: Level,
    workspace: &'a mut Workspace<'v>,
    values: &'a [Value<'v>],
    slots: &'a mut [ValueMut<'v>],
}

impl Call<'_, '_> {
    /// Calls `watch` after each layer.
    fn run(&mut self, watch: Option<&mut dyn FnMut(usize)>) -> Outcome {
        let called = self.model.forward_watched(self.level, self.workspace, self.values, self.slots, watch);
        called.map_err(|e| format!("{e:?}").into())
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        folder: String::new(),
        out: "out".into(),
        serve: false,
        layers: false,
        warmup: 10,
        runs: 100,
        level: Level::detect(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--out" => options.out = value()?,
            "--warmup" => options.warmup = value()?.parse()?,
            "--runs" => options.runs = value()?.parse()?,
            "--threads" if value()? != "1" => return Err("one thread only".into()),
            "--threads" => {}
            "--level" => {
                options.level = match value()?.as_str() {
                    "portable" => Level::Portable,
                    #[cfg(target_arch = "x86_64")]
                    "avx2" => Level::Avx2,
                    #[cfg(target_arch = "x86_64")]
                    "avx512" => Level::Avx512,
                    other => return Err(format!("unknown level {other}").into()),
                }
            }
            "--serve" => options.serve = true,
            "--layers" => options.layers = true,
            folder if !folder.starts_with("--") => options.folder = folder.into(),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

/// Times the layers of `runs` calls.
fn layers(runs: usize, call: &mut Call<'_, '_>) -> Outcome {
    let clock = (0..1000).map(|_| Instant::now().elapsed()).min().unwrap_or_default();
    let mut least = vec![Duration::MAX; model::LAYERS.len()];
    for _ in 0..runs.max(1) {
        let mut started = Instant::now();
        call.run(Some(&mut |layer| {
            let now = Instant::now();
            if let Some(least) = least.get_mut(layer) {
                *least = (*least).min((now - started).saturating_sub(clock));
            }
            started = Instant::now();
        }))?;
    }
    let ran = |time: &&Duration| **time != Duration::MAX;
    let all: Duration = least.iter().filter(ran).sum();
    say(&format!("{:>12} {:>10} {:>9} {:>9}  layer", "MACs", "us", "share", "estimate"))?;
    for ((name, time), (macs, estimate)) in model::LAYERS.iter().zip(&least).zip(ESTIMATES) {
        if ran(&time) {
            let (us, share) = (time.as_secs_f64() * 1e6, time.as_secs_f64() / all.as_secs_f64());
            say(&format!("{macs:>12} {us:>10.2} {:>7.1} % {:>7.1} %  {name}", 100.0 * share, 100.0 * estimate))?;
        }
    }
    say(&format!("{:>23.2} us in all", all.as_secs_f64() * 1e6))
}

/// Times `runs` calls and prints one line.
fn batch(runs: usize, call: &mut Call<'_, '_>) -> Outcome {
    let runs = runs.max(1);
    let mut times = Vec::with_capacity(runs);
    let cpu = cpu_time::ProcessTime::now();
    for _ in 0..runs {
        let started = Instant::now();
        call.run(None)?;
        times.push(started.elapsed().as_nanos() as u64);
    }
    let cpu = cpu.elapsed().as_nanos() / runs as u128;
    times.sort_unstable();
    say(&format!(
        "{{\"n\":{runs},\"median_ns\":{},\"min_ns\":{},\"cpu_ns\":{cpu},\"maxrss_kb\":{}}}",
        times[runs / 2],
        times[0],
        maxrss_kb()
    ))
}

fn say(line: &str) -> Outcome {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn sizes(kind: PortKind) -> Vec<usize> {
    match kind {
        PortKind::Tensor { dims, .. } => dims.iter().map(|d| d.max).collect(),
        _ => Vec::new(),
    }
}

fn words(bytes: &[u8]) -> Words {
    let mut words = vec![0; bytes.len().div_ceil(8)];
    bytes_of_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

fn bytes_of(words: &[u64]) -> &[u8] {
    bytemuck::cast_slice(words)
}

fn bytes_of_mut(words: &mut [u64]) -> &mut [u8] {
    bytemuck::cast_slice_mut(words)
}

fn maxrss_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
