//! Must not compile when `refused` is set: an argument of another shape than the model's.
#[cfg(refused)]
fn wrong() {
    use hostile::by_build::keywords::Inputs;
    let transposed = [[0.0; 2]; 3];
    let _ = Inputs { r#type: &transposed, r#match: &[[0.0; 3]; 2], r#loop: &[0.0; 3] };
}

fn main() {}
