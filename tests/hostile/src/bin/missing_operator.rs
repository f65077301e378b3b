//! Must not compile when `refused` is set: custom operators of which some are not implemented.
#[cfg(refused)]
mod wrong {
    use model::{Model, ops};
    use renamed::rt;

    mod model {
        renamed::include_exported!("../../../fixtures/custom/overloaded.pt2");
    }

    struct Operators;

    impl ops::FixturesNext for Operators {
        fn next(&mut self, x: &[i64; 2], by: i64, out: &mut [i64; 2]) -> Result<(), rt::Error> {
            *out = x.map(|x| x + by);
            Ok(())
        }
    }

    pub fn model() {
        let _ = Model::new(Operators);
    }
}

fn main() {}
