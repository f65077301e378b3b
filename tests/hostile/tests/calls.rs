//! What generated code promises to its caller: same results by every route and in every form of a call.

use hostile::{by_build, by_macro};
use renamed::rt;
use renamed::rt::program::{CallError, Program, Value, ValueMut};

const X: [[f32; 3]; 2] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
const Y: [[f32; 3]; 2] = [[0.5, 0.25, -1.0], [10.0, -20.0, 0.0]];

/// `type + match`, `match * 2`, `type - loop`, by hand.
const SUM: [[f32; 3]; 2] = [[1.5, 2.25, 2.0], [14.0, -15.0, 6.0]];
const TWICE: [[f32; 3]; 2] = [[1.0, 0.5, -2.0], [20.0, -40.0, 0.0]];
const LESS: [[f32; 3]; 2] = [[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]];

fn workspace<const N: usize>(memory: &mut [core::mem::MaybeUninit<u8>; N]) -> rt::Workspace<'_> {
    rt::Workspace::new(memory)
}

macro_rules! keywords {
    ($name:ident, $module:path) => {
        #[test]
        fn $name() {
            use $module as model;
            let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
            let mut workspace = workspace(&mut memory);
            let mut it = model::Model::new();
            let inputs = model::Inputs { r#type: &X, r#match: &Y, r#loop: &[1.0, 2.0, 3.0] };

            let out = it.forward(&mut workspace, inputs).expect("all static");
            assert_eq!((out.r#fn, out.self_, out._2nd_best), (&SUM, &TWICE, &LESS));

            let (mut sum, mut twice, mut less) = ([[0.0; 3]; 2], [[0.0; 3]; 2], [[0.0; 3]; 2]);
            let buffers = model::OutputsMut { r#fn: &mut sum, self_: &mut twice, _2nd_best: &mut less };
            it.forward_into(&mut workspace, inputs, buffers).expect("all static");
            assert_eq!((sum, twice, less), (SUM, TWICE, LESS));

            let mut run = it.start(&mut workspace, inputs).expect("all static");
            let mut steps = 0;
            while run.step().expect("nothing can fail") {
                steps += 1;
                assert_eq!(run.next(), steps);
            }
            assert_eq!(steps, model::LAYERS.len());
            let out = run.finish().expect("nothing can fail");
            assert_eq!((out.r#fn, out.self_, out._2nd_best), (&SUM, &TWICE, &LESS));

            let flat = model::Inputs::flat(rt::flat(&X), rt::flat(&Y), &[1.0, 2.0, 3.0]).expect("right lengths");
            assert_eq!(flat.r#type, &X);
            let short = model::Inputs::flat(rt::flat(&X), &[0.0; 5], &[1.0, 2.0, 3.0]);
            assert_eq!(short.err(), Some(rt::Error::Length { input: 1, found: 5 }));
        }
    };
}
keywords!(keywords_by_macro, by_macro::keywords);
keywords!(keywords_by_build, by_build::keywords);

#[test]
fn both_routes_give_the_same_model() {
    // The name and the options are part of the fingerprint; these two have the same.
    assert_eq!(by_macro::keywords::FINGERPRINT, by_build::keywords::FINGERPRINT);
    assert_eq!(by_macro::stateful::WEIGHT_BYTES, by_build::stateful::WEIGHT_BYTES);
    assert_ne!(by_macro::nested::FINGERPRINT, by_build::nested::FINGERPRINT);
}

#[test]
fn a_small_workspace_is_refused() {
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; 8];
    let inputs = by_macro::keywords::Inputs { r#type: &X, r#match: &Y, r#loop: &[0.0; 3] };
    let refused = by_macro::keywords::Model::new().forward(&mut workspace(&mut memory), inputs).err();
    assert_eq!(refused, Some(rt::Error::Workspace));
}

#[test]
fn nested_arguments_are_nested_structs() {
    use by_macro::nested as model;
    static WORKSPACE: model::StaticWorkspace = model::StaticWorkspace::new();
    let mut workspace = WORKSPACE.take().expect("first");
    let pair = model::InputsPair { _0: &[1.0, 2.0, 3.0], _1: &[4.0, 5.0, 6.0] };
    let inputs = model::Inputs { pair, options: model::InputsOptions { scale: &[2.0] } };
    let out = model::Model::new().forward(&mut workspace, inputs).expect("all static");
    assert_eq!((out.sum, out.parts._0, out.n), (&[5.0, 7.0, 9.0], &[2.0, 4.0, 6.0], 3));
    assert_eq!((out.parts._1._0, out.parts._1._1), (&[4.0, 5.0, 6.0], ()));
}

#[test]
fn state_is_kept_saved_restored_and_reset() {
    use by_macro::stateful as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    let mut it = model::Model::new();
    let mut call = |it: &mut model::Model, x1: f32, x2: f32| {
        *it.forward(&mut workspace, model::Inputs { x1: &x1, x2: &x2 }).expect("all static").sum
    };
    // PyTorch's numbers: the fixture's golden file.
    assert_eq!((call(&mut it, 1.0, 2.0), call(&mut it, 2.0, 1.5)), (17.0, 19.5));
    let saved = it.state().to_vec();
    assert_eq!(call(&mut it, 3.0, 1.0), 21.0);
    let mut other = it.clone();
    assert_eq!((call(&mut it, 4.0, 0.5), call(&mut other, 4.0, 0.5)), (21.5, 21.5));
    it.restore(&saved).expect("same length");
    assert_eq!(call(&mut it, 3.0, 1.0), 21.0);
    let refused = |fault| Err(rt::Error::State { fault });
    assert_eq!(it.restore(&saved[1..]), refused(rt::StateFault::Length));
    it.reset();
    assert_eq!(call(&mut it, 1.0, 2.0), 17.0);

    let mut bytes = [0; model::SAVED_BYTES];
    assert_eq!(it.save(&mut bytes[1..]), Err(rt::Error::Capacity));
    assert_eq!(it.save(&mut bytes), Ok(model::SAVED_BYTES));
    let mut other = model::Model::new();
    other.load(&bytes).expect("of this model");
    assert_eq!(other.state(), it.state());
    assert_eq!(other.load(&bytes[..model::SAVED_BYTES - 1]), refused(rt::StateFault::Length));
    assert_eq!(other.load(&bytes[..9]), refused(rt::StateFault::Format));
    bytes[0] ^= 1;
    assert_eq!(other.load(&bytes), refused(rt::StateFault::Fingerprint));

    let mut memory = [0; rt::Snapshot::postcard_bytes(model::STATE_BYTES)];
    let message = it.snapshot().to_postcard(&mut memory).expect("large enough");
    other.reset();
    other.resume(&rt::Snapshot::from_postcard(message).expect("whole")).expect("of this model");
    assert_eq!(other.state(), it.state());
    assert_eq!(rt::Snapshot::from_postcard(&message[..20]), Err(rt::Error::State { fault: rt::StateFault::Format }));
    // The same program, compiled otherwise: its buffers may lie elsewhere.
    let of_another = by_build::stateful::Model::new();
    assert_eq!(other.resume(&of_another.snapshot()), refused(rt::StateFault::Fingerprint));
}

#[test]
fn a_call_that_fails_changes_no_state() {
    use by_build::checked as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    // Each of the three checks holds or fails, in every combination; between them the program writes to its buffers.
    let (mut it, mut twin, mut failed) = (model::Model::new(), model::Model::new(), 0);
    for (number, n) in [2, 0, 1, 4].into_iter().enumerate() {
        for index in [1, 4, 3, -1] {
            for m in [7, 5] {
                let x = [0.5, -1.5, number as f32];
                let inputs = || model::Inputs { x: &x, n: &n, index: &index, m: &m };
                let before = it.state().to_vec();
                let result = it.forward(&mut workspace, inputs()).map(|outputs| (*outputs._0, *outputs._1));
                let holds = (1..=3).contains(&n) && (0..4).contains(&index) && m != 5;
                assert_eq!(result.is_ok(), holds, "n {n}, index {index}, m {m}: {result:?}");
                if holds {
                    let again = twin.forward(&mut workspace, inputs()).map(|outputs| (*outputs._0, *outputs._1));
                    assert_eq!(again, result, "what failed before left no trace");
                    assert_ne!(it.state(), before);
                } else {
                    assert_eq!(it.state(), before, "n {n}, index {index}, m {m}");
                    failed += 1;
                }
            }
        }
    }
    assert_eq!(failed, 28);
}

#[test]
fn arguments_are_changed_when_a_call_succeeds() {
    use by_build::changes as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    let mut it = model::Model::new();
    let (mut total, mut count) = ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1 << 40, -1]);
    let mut seen = [[true, false, false], [false, false, true]];
    let inputs = model::Inputs { total: &mut total, count: &mut count, seen: &mut seen, x: &Y };
    let out = it.forward(&mut workspace, inputs).expect("all static");
    // total[:, 1:] * 0.5 + x[:, 1:], by hand.
    assert_eq!((*out._0, *out._1), (-7.75, [(1 << 40) + 3, 2]));
    assert_eq!(total, [[1.0, 1.25, 0.5], [4.0, -17.5, 3.0]]);
    assert_eq!((count, seen), ([(1 << 40) + 3, 2], [[true, true, false], [true, false, true]]));

    // Layer by layer, from flat slices: nothing changes before the end.
    let mut flags = [false; 6];
    let flat = model::Inputs::flat(rt::flat_mut(&mut total), &mut count, &mut flags, rt::flat(&Y));
    it.start(&mut workspace, flat.expect("right lengths")).and_then(|mut run| run.step()).expect("nothing can fail");
    assert_eq!((total[0][1], count[1]), (1.25, 2));
    let flat = model::Inputs::flat(rt::flat_mut(&mut total), &mut count, &mut flags, rt::flat(&Y));
    it.start(&mut workspace, flat.expect("right lengths")).and_then(|run| run.finish().map(drop)).expect("all static");
    assert_eq!((total[0], count), ([1.0, 0.875, -0.75], [(1 << 40) + 6, 5]));
}

#[test]
fn arguments_of_any_size_are_changed_or_left_alone() {
    use by_macro::changes as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut rows = workspace(&mut memory);
    let mut history = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
    let x = [0.0, -1.0, 10.0];
    let inputs = model::Inputs { history: &mut history, x: &x };
    let out = model::Model::new().forward(&mut rows, inputs).expect("three rows are enough");
    assert_eq!(out.output, &[7.0, 8.0, 10.0]);
    assert_eq!(history, [[4.0, 5.0, 6.0], [7.0, 8.0, 9.0], x]);
    let mut more = [[0.5; 3]; 7];
    let refused = model::Model::new().forward(&mut rows, model::Inputs { history: &mut more, x: &x }).err();
    let seven =
        matches!(refused, Some(rt::Error::Shape { input: 0, dim: 0, demand: rt::Demand::AtMost, found: 7, .. }));
    assert!(seven && more == [[0.5; 3]; 7], "{refused:?}");

    use by_build::plane;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; plane::WORKSPACE_BYTES + 15];
    let mut numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let inputs = plane::Inputs { plane: rt::TensorMut::new(&mut numbers, [2, 3]).expect("six"), gain: &[2.0] };
    let mut it = plane::Model::new();
    let mut workspace = workspace(&mut memory);
    let out = it.forward(&mut workspace, inputs).expect("sizes in range").output;
    assert_eq!((out.shape(), out.data()), ([3, 2], &[2.0, 8.0, 4.0, 10.0, 6.0, 12.0][..]));
    assert_eq!(numbers, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
}

#[test]
fn frozen_arguments_are_constants_with_a_check() {
    use by_build::frozen as model;
    assert_eq!((model::TIMES, model::HALF, model::MODE, model::GAIN), (2, true, "relu", 0.1));
    assert_eq!(model::check_constants(2, true, "relu", 0.1), Ok(()));
    let refused = |input, found| Err(rt::Error::Constant { input, found });
    assert_eq!(model::check_constants(3, true, "relu", 0.1), refused(1, 3));
    assert_eq!(model::check_constants(2, false, "relu", 0.1), refused(2, 0));
    assert_eq!(model::check_constants(2, true, "Relu", 0.1), refused(3, 0));
    assert_eq!(model::check_constants(2, true, "relu", 0.2), refused(4, 0.2f64.to_bits().cast_signed()));
}

#[test]
fn recorded_lower_bounds_are_enforced_when_asked_for() {
    use by_macro::strict as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    let rows = [[[0.5; 4]; 5]; 3];
    let mut call = |n: usize| model::Model::new().forward(&mut workspace, model::Inputs { x: &rows[..n] }).err();
    let refused = |found| Some(rt::Error::Shape { input: 0, dim: 0, demand: rt::Demand::AtLeast, bound: 2, found });
    assert_eq!([0, 1, 2, 3].map(&mut call), [refused(0), refused(1), None, None]);
}

#[test]
fn loops_run_by_step_and_end_where_they_are_told_to() {
    let x = [[0.5, -0.5, 1.0, 2.0]; 2];
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; by_macro::loops::WORKSPACE_BYTES + 15];
    let mut small = workspace(&mut memory);
    let mut capped = by_macro::loops::Model::new();
    for (n, end) in [(0, 0), (2, 0), (-3, -3)] {
        let out = capped.forward(&mut small, by_macro::loops::Inputs { n: &n, x: &x }).expect("two rounds at most");
        assert_eq!(*out._0, end);
    }
    let refused = capped.forward(&mut small, by_macro::loops::Inputs { n: &3, x: &x }).err();
    let Some(rt::Error::Assert { index }) = refused else { panic!("{refused:?}") };
    assert!(by_macro::loops::ASSERTS[usize::from(index)].ends_with("takes more than 2 rounds"));

    use by_build::loops as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut free = workspace(&mut memory);
    let mut it = model::Model::new();
    let whole = *it.forward(&mut free, model::Inputs { n: &3, x: &x }).expect("no limit")._1;
    let mut run = it.start(&mut free, model::Inputs { n: &3, x: &x }).expect("no limit");
    let mut steps = 0;
    while run.step().expect("no limit") {
        steps += 1;
    }
    assert!(steps > model::LAYERS.len(), "each round is made of steps");
    assert_eq!(*run.finish().expect("nothing left")._1, whole);
}

#[test]
fn the_flat_door_checks_and_computes() {
    use by_macro::keywords as model;
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    let it: &mut dyn Program = &mut model::Model::new();
    assert_eq!((it.signature().name, it.signature().inputs.len()), ("keyword_names", 3));
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (x, y, z) = (aligned(&bytes(rt::flat(&X))), aligned(&bytes(rt::flat(&Y))), aligned(&bytes(&[1.0, 2.0, 3.0])));
    let tensor = |shape, data| Value::Tensor { dtype: rt::DType::F32, shape, data };
    let mut call = |inputs: &[Value<'_>]| {
        let mut results = [(); 3].map(|()| ([0usize; 2], [0u8; 24]));
        let mut outputs = results.each_mut().map(|(shape, data)| ValueMut::Tensor { shape, data });
        it.forward_flat(rt::Level::Portable, &mut workspace, inputs, &mut outputs)?;
        Ok(results)
    };
    let good = [tensor(&[2, 3], &x.0), tensor(&[2, 3], &y.0), tensor(&[3], &z.0[..12])];
    let results = call(&good).expect("a legal call");
    assert_eq!((results[0].0, &results[0].1[..]), ([2, 3], &bytes(rt::flat(&SUM))[..]));
    assert_eq!(&results[2].1[..], &bytes(rt::flat(&LESS))[..]);
    assert_eq!(call(&good[..2]), Err(CallError::InputCount { expected: 3, found: 2 }));
    assert_eq!(call(&[good[0], good[1], good[0]]), Err(CallError::InputRank { input: 2 }));
    let size = rt::Error::Shape { input: 1, dim: 0, demand: rt::Demand::Static, bound: 2, found: 3 };
    assert_eq!(call(&[good[0], tensor(&[3, 2], &y.0), good[2]]), Err(CallError::Model(size)));
}

/// Bytes aligned for every element type.
#[repr(align(16))]
struct Aligned([u8; 24]);

fn aligned(bytes: &[u8]) -> Aligned {
    let mut aligned = Aligned([0; 24]);
    aligned.0[..bytes.len()].copy_from_slice(bytes);
    aligned
}

#[test]
fn the_layout_of_an_image_is_the_callers_choice() {
    let value = |y: usize, x: usize, c: usize| ((y * 31 + x * 17 + c * 7) % 23) as f32 / 11.0 - 1.0;
    let planar = [core::array::from_fn(|c| core::array::from_fn(|y| core::array::from_fn(|x| value(y, x, c))))];
    let camera = [core::array::from_fn(|y| core::array::from_fn(|x| core::array::from_fn(|c| value(y, x, c))))];
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; 1 << 14];
    let mut workspace = workspace(&mut memory);
    let inputs = by_build::planar::Inputs { x: &planar };
    let expected = *by_build::planar::Model::new().forward(&mut workspace, inputs).expect("all static").output;
    let inputs = by_macro::camera::Inputs { x: &camera };
    let found = *by_macro::camera::Model::new().forward(&mut workspace, inputs).expect("all static").output;
    assert_eq!(rt::flat(&expected), rt::flat(&found));
    assert!(rt::flat(&found).iter().any(|v| *v > 0.0));
}

#[test]
fn a_batch_is_as_long_as_the_caller_says() {
    use by_macro::batch as model;
    let rows: [[f32; 6]; 6] = core::array::from_fn(|i| core::array::from_fn(|j| (i * 6 + j) as f32 / 36.0));
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    let mut it = model::Model::new();
    let all = it.forward(&mut workspace, model::Inputs { x: &rows[..5] }).expect("five rows").output.to_vec();
    assert_eq!(all.len(), 5);
    for n in 0..5 {
        let out = it.forward(&mut workspace, model::Inputs { x: &rows[..n] }).expect("fewer rows");
        assert_eq!(out.output, &all[..n]);
    }
    let refused = it.forward(&mut workspace, model::Inputs { x: &rows }).err();
    assert!(
        matches!(refused, Some(rt::Error::Shape { input: 0, dim: 0, demand: rt::Demand::AtMost, .. })),
        "{refused:?}"
    );
    let (mut small, mut large) = ([[7.0; 4]; 1], [[7.0; 4]; 3]);
    let inputs = model::Inputs { x: &rows[..2] };
    let short = it.forward_into(&mut workspace, inputs, model::OutputsMut { output: &mut small });
    assert_eq!(short, Err(rt::Error::Capacity));
    it.forward_into(&mut workspace, inputs, model::OutputsMut { output: &mut large }).expect("room for three");
    assert_eq!((&large[..2], large[2]), (&all[..2], [7.0; 4]));
}

#[test]
fn models_may_move_between_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<by_macro::stateful::Model>();
    is_send::<by_macro::stateful::Run<'static, 'static>>();
    is_sync::<by_macro::stateful::StaticWorkspace>();
    is_send::<rt::Workspace<'static>>();
    assert_eq!(size_of::<by_macro::keywords::Model>(), 0);
}

#[test]
fn inputs_that_stand_in_the_workspace_give_the_same() {
    use by_macro::{entered, left, overwritten};
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; entered::WORKSPACE_BYTES + 15];
    let mut workspace = workspace(&mut memory);
    let mut it = entered::Model::new();
    let fill = |x: &mut [[f32; 3]; 2], y: &mut [[f32; 3]; 2], z: &mut [f32; 3]| {
        (*x, *y, *z) = (X, Y, [1.0, 2.0, 3.0]);
    };
    let out = it.forward_with(&mut workspace, fill).expect("all static");
    assert_eq!((out.r#fn, out.self_, out._2nd_best), (&SUM, &TWICE, &LESS));
    let inputs = entered::Inputs { r#type: &X, r#match: &Y, r#loop: &[1.0, 2.0, 3.0] };
    let out = it.forward(&mut workspace, inputs).expect("all static");
    assert_eq!((out.r#fn, out.self_, out._2nd_best), (&SUM, &TWICE, &LESS));

    // The result takes the place of the input: less memory than both.
    let x = [core::array::from_fn(|i| (i as f32 * 0.7).sin())];
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; 4096];
    let mut workspace = rt::Workspace::new(&mut memory);
    let expected = *left::Model::new().forward(&mut workspace, left::Inputs { input: &x }).expect("all static").output;
    const { assert!(overwritten::WORKSPACE_BYTES < left::WORKSPACE_BYTES + size_of::<[[f32; 96]; 1]>()) };
    let mut it = overwritten::Model::new();
    assert_eq!(*it.forward_with(&mut workspace, |to| *to = x).expect("all static").output, expected);
    assert_eq!(*it.forward(&mut workspace, overwritten::Inputs { input: &x }).expect("all static").output, expected);
}
