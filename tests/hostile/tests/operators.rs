//! Custom operators, implemented by the caller. (Their models need the prelude, for the attribute `diagnostic` of their
//! traits: they stand here, not in the library.)
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all, clippy::pedantic)]

use model::ops;
use renamed::rt;

mod model {
    renamed::include_exported!("../../fixtures/custom/overloaded.pt2", pure("fixtures::next"));
}

/// The same with its input in the workspace.
pub mod entered {
    renamed::include_exported!("../../fixtures/custom/overloaded.pt2", inputs = "workspace");
}

/// Lists and texts as arguments: nobody implements these, and nothing may warn.
pub mod by_build {
    include!(concat!(env!("OUT_DIR"), "/custom.rs"));
}

/// Fails on the weight when told to, and counts.
#[derive(Default)]
struct Operators {
    calls: u32,
    broken: bool,
}

impl ops::FixturesNext for Operators {
    fn next(&mut self, x: &[i64; 2], by: i64, out: &mut [i64; 2]) -> Result<(), rt::Error> {
        self.calls += 1;
        *out = x.map(|x| x + by);
        Ok(())
    }
}

impl ops::FixturesNext2 for Operators {
    fn next(&mut self, x: &[[f32; 4]; 3], by: i64, out: &mut [[f32; 4]; 3]) -> Result<(), rt::Error> {
        self.calls += 1;
        *out = x.map(|row| row.map(|x| x + f32::from(i16::try_from(by).unwrap_or(0))));
        Ok(())
    }
}

impl ops::FixturesNext3 for Operators {
    fn next(&mut self, x: &[f32; 4], out: &mut [f32; 4]) -> Result<(), rt::Error> {
        self.calls += 1;
        *out = x.map(|x| x + 1.0);
        if self.broken { Err(rt::Error::Operator { code: 7 }) } else { Ok(()) }
    }
}

#[test]
fn an_operator_that_fails_fails_the_call_and_commits_nothing() {
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = rt::Workspace::new(&mut memory);
    let mut operators = Operators::default();
    let mut it = model::Model::new(&mut operators);
    let x = [[1.0; 4]; 3];
    let counted = |out: Result<model::Outputs<'_>, rt::Error>| out.map(|out| *out._1);
    assert_eq!(counted(it.forward(&mut workspace, model::Inputs { x: &x })), Ok([3, 3]));
    it.ops().broken = true;
    let failed = counted(it.forward(&mut workspace, model::Inputs { x: &x }));
    assert_eq!(failed, Err(rt::Error::Operator { code: 7 }));
    it.ops().broken = false;
    let mut run = it.start(&mut workspace, model::Inputs { x: &x }).expect("all static");
    while run.step().expect("nothing fails") {}
    assert_eq!(counted(run.finish()), Ok([6, 6]));
    // Three calls of three operators each: the branch takes the one with the operator.
    assert_eq!(operators.calls, 9);
}

#[test]
fn a_branch_calls_only_its_own() {
    let mut memory = [const { core::mem::MaybeUninit::uninit() }; model::WORKSPACE_BYTES + 15];
    let mut workspace = rt::Workspace::new(&mut memory);
    let mut it = model::Model::<Operators>::default();
    it.forward(&mut workspace, model::Inputs { x: &[[-1.0; 4]; 3] }).expect("all static");
    assert_eq!(it.ops().calls, 2);
}
