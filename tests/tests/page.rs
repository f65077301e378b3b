//! The Rust of docs/torch-export.md, which prints what stands between `// [name]` and `// [/name]` here, and the Python of
//! tests/fixtures/python/page.py. The numbers are PyTorch's: `page.py` prints them.

use std::path::Path;

fn near(found: &[f32], expected: &[f32]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4)
}

// [first]
mod first {
    exported::include_exported!("../fixtures/page/first.pt2");
}
// [/first]

#[test]
fn the_first_model() {
    // [first]
    let mut workspace = exported::Workspace::boxed(first::WORKSPACE_BYTES);
    let mut model = first::Model::new();
    let inputs = first::Inputs { x: &[[0.5; 3]; 2], y: &[[0.0; 3]; 2] };
    let out = model.forward(&mut workspace, inputs).unwrap();
    assert!((out.output[0][0] - 1.4794).abs() < 1e-4);
    // [/first]
}

// [sizes]
mod sizes {
    exported::include_exported!("../fixtures/page/sizes.pt2");
}
// [/sizes]

#[test]
fn dynamic_sizes() {
    // [sizes]
    let mut workspace = exported::Workspace::boxed(sizes::WORKSPACE_BYTES);
    let mut model = sizes::Model::new();
    let x = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]];
    let y = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]];
    // Slices: checked when the call begins.
    let out = model.forward(&mut workspace, sizes::Inputs { x: &x, y: &y }).unwrap();
    assert_eq!(out.output, [[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]]);
    let error = model.forward(&mut workspace, sizes::Inputs { x: &x, y: &x }).unwrap_err();
    let text = sizes::describe(error).to_string();
    assert_eq!(text, "Expected input at *args[1].shape[0] to be equal to 4, but got 3 (dim 0 of `y`)");
    // Arrays: checked by the compiler; `arrays(&x, &x)` does not build.
    let out = model.forward(&mut workspace, sizes::Inputs::arrays(&x, &y)).unwrap();
    assert_eq!(out.output.len(), 3);
    // [/sizes]
}

// [guards]
mod guards {
    exported::include_exported!("../fixtures/page/guards.pt2");
}
// [/guards]

#[test]
fn guards_on_sizes() {
    // [guards]
    let mut workspace = exported::Workspace::boxed(guards::WORKSPACE_BYTES);
    let mut model = guards::Model::new();
    let out = model.forward(&mut workspace, guards::Inputs { x: &[1.0, 2.0], y: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] });
    assert_eq!(out.unwrap().output, [1.0, 3.0, 4.0, 6.0, 9.0, 13.0, 18.0, 24.0]);
    let error = model.forward(&mut workspace, guards::Inputs { x: &[1.0], y: &[1.0, 2.0] }).unwrap_err();
    assert_eq!(error, exported::Error::Guard { index: 0 });
    assert_eq!(guards::describe(error).to_string(), "Guard failed: ((y.size()[0] + x.size()[0]) % 4) == 0");
    // [/guards]
}

// [remainders]
mod remainders {
    exported::include_exported!("../fixtures/page/remainders.pt2");
}
// [/remainders]

#[test]
fn remainders_of_sizes() {
    // [remainders]
    let mut workspace = exported::Workspace::boxed(remainders::WORKSPACE_BYTES);
    let mut model = remainders::Model::new();
    let x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let out = model.forward(&mut workspace, remainders::Inputs { x: &x[..8] }).unwrap();
    assert_eq!(out.output, [1.5, 5.5]);
    let error = model.forward(&mut workspace, remainders::Inputs { x: &x }).unwrap_err();
    assert_eq!(remainders::describe(error).to_string(), "Guard failed: (x.size()[0] % 4) == 0");
    // [/remainders]
}

// [data]
mod data {
    exported::include_exported!("../fixtures/page/data.pt2");
}
// [/data]

#[test]
fn sizes_from_data() {
    // [data]
    let mut workspace = exported::Workspace::boxed(data::WORKSPACE_BYTES);
    let mut model = data::Model::new();
    let x = [0.0, 1.0, 2.0, 3.0];
    let out = model.forward(&mut workspace, data::Inputs { x: &x, count: &3 }).unwrap();
    assert_eq!(out.output, [0.0, 2.0, 4.0]);
    let error = model.forward(&mut workspace, data::Inputs { x: &x, count: &5 }).unwrap_err();
    let text = data::describe(error).to_string();
    assert_eq!(text, "Runtime assertion failed for expression u0 <= 4 on node 'le_1'");
    // [/data]
}

// [decisions]
mod decisions {
    exported::include_exported!("../fixtures/page/decisions.pt2");
}
// [/decisions]

#[test]
fn decisions_from_data() {
    // [decisions]
    let mut workspace = exported::Workspace::boxed(decisions::WORKSPACE_BYTES);
    let mut model = decisions::Model::new();
    let x = [1.0, -2.0, 0.5];
    let out = model.forward(&mut workspace, decisions::Inputs { x: &x, mute: &true }).unwrap();
    assert_eq!((out._0, out._1), (&[0.0, 0.0, 0.0], 0.0));
    let out = model.forward(&mut workspace, decisions::Inputs { x: &x, mute: &false }).unwrap();
    assert_eq!((out._0, out._1), (&[2.0, -4.0, 1.0], 2.0));
    // [/decisions]
}

// [control]
mod control {
    exported::include_exported!("../fixtures/page/control.pt2", max_rounds = 100);
}
// [/control]

#[test]
fn control_flow() {
    // [control]
    let mut workspace = exported::Workspace::boxed(control::WORKSPACE_BYTES);
    let mut model = control::Model::new();
    let out = model.forward(&mut workspace, control::Inputs { x: &[1.0, 2.0, 3.0], rounds: &2 }).unwrap();
    assert_eq!((out._0, out._1, out._2), (&[4.0, 6.0, 8.0], &[4.0, 10.0, 18.0], &[16.0, 36.0, 64.0]));
    let out = model.forward(&mut workspace, control::Inputs { x: &[-1.0, -2.0, 1.0], rounds: &0 }).unwrap();
    assert_eq!(out._0, &[1.0, 2.0, -1.0]);
    // More rounds than `max_rounds` are an error, so that firmware does not hang.
    let error = model.forward(&mut workspace, control::Inputs { x: &[0.0; 3], rounds: &101 }).unwrap_err();
    assert!(matches!(error, exported::Error::Assert { .. }));
    // [/control]
}

// [integers]
mod integers {
    exported::include_exported!("../fixtures/page/integers.pt2");
}
// [/integers]

#[test]
fn integers_through_control_flow() {
    // [integers]
    let mut workspace = exported::Workspace::boxed(integers::WORKSPACE_BYTES);
    let mut model = integers::Model::new();
    let out = model.forward(&mut workspace, integers::Inputs { x: &[1.0, 2.0], n: 3 }).unwrap();
    assert_eq!((out._0, out._1), (&[5.0, 9.0], 3));
    let out = model.forward(&mut workspace, integers::Inputs { x: &[-1.0, -2.0], n: 6 }).unwrap();
    assert_eq!((out._0, out._1), (&[-2.0, -3.0], 7));
    let error = model.forward(&mut workspace, integers::Inputs { x: &[0.0; 2], n: 10 }).unwrap_err();
    assert_eq!(integers::describe(error).to_string(), "Expected input at *args[1] to be <= 9, but got 10 (`n`)");
    // [/integers]
}

// [state]
mod state {
    exported::include_exported!("../fixtures/page/state.pt2");
}
// [/state]

#[test]
fn buffers_are_state() {
    // [state]
    let mut workspace = exported::Workspace::boxed(state::WORKSPACE_BYTES);
    let mut model = state::Model::new();
    let mut mean = |model: &mut state::Model, x| *model.forward(&mut workspace, state::Inputs { x }).unwrap().output;
    assert_eq!(mean(&mut model, &[1.0, 2.0]), [1.0, 2.0]);
    assert_eq!(mean(&mut model, &[3.0, 6.0]), [2.0, 4.0]);

    // Saved before a sleep, restored after it; another instance, with the same weights.
    let mut flash = [0; state::SAVED_BYTES];
    model.save(&mut flash).unwrap();
    let mut other = state::Model::new();
    other.load(&flash).unwrap();
    assert_eq!(mean(&mut other, &[5.0, 1.0]), [3.0, 3.0]);
    // State of another model is refused by the fingerprint.
    flash[0] ^= 1;
    assert!(matches!(other.load(&flash), Err(exported::Error::State { .. })));

    // With the feature `postcard`; with `serde`, a snapshot can be a part of your own messages.
    let mut memory = [0; exported::rt::Snapshot::postcard_bytes(state::STATE_BYTES)];
    let message = model.snapshot().to_postcard(&mut memory).unwrap();
    other.resume(&exported::rt::Snapshot::from_postcard(message).unwrap()).unwrap();
    assert_eq!(mean(&mut other, &[5.0, 1.0]), [3.0, 3.0]);

    model.reset();
    assert_eq!(mean(&mut model, &[1.0, 2.0]), [1.0, 2.0]);
    // [/state]
}

// [changed]
mod changed {
    exported::include_exported!("../fixtures/page/changed.pt2");
}
// [/changed]

#[test]
fn arguments_are_changed() {
    // [changed]
    let mut workspace = exported::Workspace::boxed(changed::WORKSPACE_BYTES);
    let mut history = [1.0, 2.0, 3.0];
    let inputs = changed::Inputs { history: &mut history, x: &[10.0] };
    let sum = *changed::Model::new().forward(&mut workspace, inputs).unwrap().output;
    assert_eq!((sum, history), (15.0, [2.0, 3.0, 10.0]));
    // [/changed]
}

// [custom]
mod custom {
    exported::include_exported!("../fixtures/page/custom.pt2");
}

struct Operators;

impl custom::ops::MylibScaled for Operators {
    fn scaled(&mut self, x: &[f32; 3], by: f64, out: &mut [f32; 3]) -> Result<(), exported::Error> {
        *out = x.map(|x| x * by as f32 + 0.5); // The call left `bias` out: 0.5.
        Ok(())
    }
}
// [/custom]

#[test]
fn custom_operators() {
    // [custom]
    let mut workspace = exported::Workspace::boxed(custom::WORKSPACE_BYTES);
    let mut model = custom::Model::new(Operators);
    let out = model.forward(&mut workspace, custom::Inputs { x: &[1.0, -2.0, 0.0] }).unwrap();
    assert_eq!(out.output, &[2.5, 0.0, 0.5]);
    // [/custom]
}

// [convention]
mod convention {
    exported::include_exported!("../fixtures/page/convention.pt2");
}
// [/convention]

#[test]
fn the_calling_convention() {
    // [convention]
    use convention::{Inputs, InputsOptions, InputsPair};
    let mut workspace = exported::Workspace::boxed(convention::WORKSPACE_BYTES);
    let inputs = Inputs {
        pair: InputsPair { left: &[1.0, 2.0], right: &[10.0, 20.0] },
        options: InputsOptions { offset: &[5.0, 6.0] },
    };
    let mut model = convention::Model::new();
    let out = model.forward(&mut workspace, inputs).unwrap();
    assert_eq!((out.sum, out.parts._0, out.parts._1), (&[33.0, 66.0], &[1.0, 2.0], &[5.0, 6.0]));
    assert_eq!((out.none, convention::SCALE), ((), 3));
    // [/convention]
}

// [dataclass]
mod dataclass {
    exported::include_exported!("../fixtures/page/dataclass.pt2");
}
// [/dataclass]

#[test]
fn dataclasses() {
    // [dataclass]
    let mut workspace = exported::Workspace::boxed(dataclass::WORKSPACE_BYTES);
    let frame = dataclass::InputsFrame { samples: &[1.0, 2.0, 3.0], gain: &2.0 };
    let mut model = dataclass::Model::new();
    let out = model.forward(&mut workspace, dataclass::Inputs { frame }).unwrap();
    assert_eq!((out.samples, out.gain), (&[2.0, 4.0, 6.0], &2.0));
    // [/dataclass]
}

// [levels]
mod training {
    exported::include_exported!("../fixtures/page/levels_training.pt2");
}
mod core_aten {
    exported::include_exported!("../fixtures/page/levels_core.pt2");
}
mod partial {
    exported::include_exported!("../fixtures/page/levels_partial.pt2");
}
// [/levels]

#[test]
fn levels_of_the_ir_agree() {
    // [levels]
    let x = [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5], [0.6, 0.7, 0.8], [0.9, 1.0, 1.1]];
    let mut workspace = exported::Workspace::boxed(training::WORKSPACE_BYTES);
    let mut model = training::Model::new();
    let expected = *model.forward(&mut workspace, training::Inputs { x: &x }).unwrap().output;
    assert!(near(&expected[3], &[0.6348, 0.0582, 0.3070]));
    let mut workspace = exported::Workspace::boxed(core_aten::WORKSPACE_BYTES);
    let mut model = core_aten::Model::new();
    let out = model.forward(&mut workspace, core_aten::Inputs { x: &x }).unwrap();
    assert!(near(out.output.as_flattened(), expected.as_flattened()));
    let mut workspace = exported::Workspace::boxed(partial::WORKSPACE_BYTES);
    let mut model = partial::Model::new();
    let out = model.forward(&mut workspace, partial::Inputs { x: &x }).unwrap();
    assert!(near(out.output.as_flattened(), expected.as_flattened()));
    // [/levels]
}

// [submodules]
mod network {
    exported::include_exported!("../fixtures/page/submodules.pt2");
}
mod encoder {
    exported::include_exported!("../fixtures/page/submodules.pt2", module = "encoder");
}
mod head {
    exported::include_exported!("../fixtures/page/submodules.pt2", module = "head");
}
// [/submodules]

#[test]
fn modules_are_called_alone() {
    // [submodules]
    let x: [[f32; 4]; 3] = std::array::from_fn(|i| std::array::from_fn(|j| (4 * i + j) as f32 / 4.0));
    let mut workspace = exported::Workspace::boxed(network::WORKSPACE_BYTES);
    let mut model = network::Model::new();
    let out = model.forward(&mut workspace, network::Inputs { x: &x }).unwrap();
    assert!(near(out.output.as_flattened(), &[-1.6086, 2.7391, -2.8165, 3.9734, -5.0150, 4.9740]));

    // The encoder alone, with weights and state of its own. `gain` was 2.0 in its call; the archive does not name `x`.
    let mut workspace = exported::Workspace::boxed(encoder::WORKSPACE_BYTES);
    let mut model = encoder::Model::new();
    let out = model.forward(&mut workspace, encoder::Inputs { args_0: &x }).unwrap();
    let code = [1.0, 2.4322, 1.9484, 1.0, 3.4833, 3.5310, 1.0, 4.5343, 5.1136];
    assert!(near(out.code.as_flattened(), &code));
    assert_eq!((out.size, encoder::GAIN), (&[3.0], 2.0));

    let mut workspace = exported::Workspace::boxed(head::WORKSPACE_BYTES);
    let mut model = head::Model::new();
    let out = model.forward(&mut workspace, head::Inputs { args_0: &[[1.0; 3]] }).unwrap();
    assert!(near(&out.output[0], &[-0.5692, 0.7216]));
    // [/submodules]
}

// [draft]
mod draft {
    exported::include_exported!("../fixtures/page/draft.pt2");
}
// [/draft]

#[test]
fn drafts_are_guarded() {
    // [draft]
    let mut workspace = exported::Workspace::boxed(draft::WORKSPACE_BYTES);
    let mut model = draft::Model::new();
    let x = [0.0, 1.0, 2.0, 3.0, 4.0];
    let out = model.forward(&mut workspace, draft::Inputs { x: &x, level: &2 }).unwrap();
    assert_eq!(out.output, &[0.0, 2.0, 4.0, 6.0, 8.0]);
    // The branch that the example did not take is not in the program.
    let error = model.forward(&mut workspace, draft::Inputs { x: &x, level: &1 }).unwrap_err();
    assert!(matches!(error, exported::Error::Assert { .. }));
    // [/draft]
}

// [extra]
mod extra {
    exported::include_exported!("../fixtures/page/extra.pt2", extra("labels.txt"));
}
// [/extra]

#[test]
fn extra_files() {
    // [extra]
    let mut workspace = exported::Workspace::boxed(extra::WORKSPACE_BYTES);
    let class = *extra::Model::new().forward(&mut workspace, extra::Inputs { x: &[1.0, 2.0] }).unwrap().output;
    let labels = str::from_utf8(extra::EXTRA_LABELS_TXT).unwrap();
    assert_eq!(labels.lines().nth(class as usize), Some("no"));
    // [/extra]
}

// [constants]
mod constants {
    exported::include_exported!("../fixtures/page/constants.pt2");
}
// [/constants]

#[test]
fn constants_and_specialized_values() {
    // [constants]
    let mut workspace = exported::Workspace::boxed(constants::WORKSPACE_BYTES);
    let mut model = constants::Model::new();
    let out = model.forward(&mut workspace, constants::Inputs { x: &[1.0, 2.0] }).unwrap();
    assert_eq!((out._0, out._1), (&[13.5, 26.5], 3));
    // The values that were frozen are constants; a caller who has them can have them checked.
    assert_eq!((constants::TIMES, constants::MODE), (3, "scale"));
    let error = constants::check_constants(4, "scale").unwrap_err();
    let text = constants::describe(error).to_string();
    assert_eq!(text, "Expected input at *args[1] to be equal to 3, but got 4 (`times`)");
    // [/constants]
}

// [strict]
mod traced {
    exported::include_exported!("../fixtures/page/strict_traced.pt2");
}
mod compiled {
    exported::include_exported!("../fixtures/page/strict_compiled.pt2");
}
// [/strict]

#[test]
fn strict_and_not() {
    // [strict]
    let x = [[1.0, 2.0], [3.0, 4.0]];
    let mut workspace = exported::Workspace::boxed(traced::WORKSPACE_BYTES.max(compiled::WORKSPACE_BYTES));
    let mut model = traced::Model::new();
    let out = *model.forward(&mut workspace, traced::Inputs { x: &x }).unwrap().output;
    assert_eq!(out, [[1.0, 2.0], [5.0, 8.0]]);
    let mut model = compiled::Model::new();
    assert_eq!(model.forward(&mut workspace, compiled::Inputs { x: &x }).unwrap().output, &out);
    // [/strict]
}

/// What stands between `[name]` and `[/name]` of a source file, without its indentation; the parts of one name joined by an
/// empty line.
fn region(source: &str, name: &str) -> Option<String> {
    let mark = |line: &str, mark: &str| matches!(line.trim().split_once(' '), Some(("#" | "//", rest)) if rest == mark);
    let (begin, end) = (format!("[{name}]"), format!("[/{name}]"));
    let mut parts: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        if mark(line, &begin) {
            (inside, _) = (true, parts.push(Vec::new()));
        } else if mark(line, &end) {
            inside = false;
        } else if let (true, Some(part)) = (inside, parts.last_mut()) {
            part.push(line);
        }
    }
    let dedented = parts.into_iter().map(|lines| {
        let indent = |line: &&str| line.len() - line.trim_start().len();
        let least = lines.iter().filter(|l| !l.trim().is_empty()).map(indent).min().unwrap_or(0);
        lines.iter().map(|line| line.get(least..).unwrap_or("").to_owned() + "\n").collect::<String>()
    });
    let parts: Vec<String> = dedented.collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// The names that a source file marks.
fn names(source: &str) -> Vec<&str> {
    let mut names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("# [").or(line.trim().strip_prefix("// [")))
        .filter_map(|rest| rest.strip_suffix(']').filter(|name| !name.starts_with('/')))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The page prints the programs that were exported and the code that is tested. `EXPORTED_BLESS=1` writes them into it:
/// a block of code behind `<!-- page.py: name -->` is that part of the file.
#[test]
fn the_page_shows_what_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| {
        std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).replace("\r\n", "\n")
    };
    let path = root.join("../docs/torch-export.md");
    let (page, python, rust) =
        (read(&path), read(&root.join("fixtures/python/page.py")), read(&root.join("tests/page.rs")));
    let mut shown = Vec::new();
    let mut written = String::new();
    let mut rest = page.as_str();
    while let Some((before, after)) = rest.split_once("<!-- page.") {
        let (mark, block) = after.split_once(" -->\n").expect("a mark ends in ` -->`");
        let (language, name) = mark.split_once(": ").expect("a mark is `page.py: name`");
        let (source, fence) = if language == "py" { (&python, "```python\n") } else { (&rust, "```rust\n") };
        let code = region(source, name).unwrap_or_else(|| panic!("page.{language} marks no `{name}`"));
        let block = block.strip_prefix(fence).unwrap_or_else(|| panic!("no code behind page.{language}: {name}"));
        let end = if block.starts_with("```\n") { 0 } else { block.find("\n```\n").expect("a block ends") + 1 };
        written += &format!("{before}<!-- page.{mark} -->\n{fence}{code}");
        shown.push((language, name));
        rest = &block[end..];
    }
    written += rest;
    for (language, source) in [("py", &python), ("rs", &rust)] {
        for name in names(source) {
            assert!(shown.contains(&(language, name)), "the page does not show `{name}` of page.{language}");
        }
    }
    if std::env::var_os("EXPORTED_BLESS").is_some() {
        std::fs::write(&path, &written).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    } else {
        let line = page.lines().zip(written.lines()).position(|(a, b)| a != b);
        assert!(page == written, "line {:?} of the page differs; EXPORTED_BLESS=1 writes it", line.map(|n| n + 1));
    }
}
