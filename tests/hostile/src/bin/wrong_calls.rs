//! Must not compile when `refused` is set: calls that do not fit the model's signature.
#[cfg(refused)]
mod wrong {
    use hostile::by_build::keywords::Inputs;

    const MATCH: [[f32; 3]; 2] = [[0.0; 3]; 2];

    pub fn shape() {
        let transposed = [[0.0; 2]; 3];
        let _ = Inputs { r#type: &transposed, r#match: &MATCH, r#loop: &[0.0; 3] };
    }

    pub fn argument() {
        let _ = Inputs { r#type: &MATCH, r#loop: &[0.0; 3] };
    }

    pub fn dtype() {
        let integers = [[0i32; 3]; 2];
        let _ = Inputs { r#type: &integers, r#match: &MATCH, r#loop: &[0.0; 3] };
    }
}

fn main() {}
