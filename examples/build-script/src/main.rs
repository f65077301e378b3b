//! A pipeline of two networks: a small one decides whether an image shows a digit at all, a larger one reads it. They never
//! run at the same time, so they share one workspace, as large as the larger one needs. Run with `cargo run -p build-script`.
#![forbid(unsafe_code)]

use std::error::Error;

/// Is it a digit? image -> probability.
mod gate {
    include!(concat!(env!("OUT_DIR"), "/gate.rs"));
}

/// Which one? image -> ten probabilities.
mod digits {
    include!(concat!(env!("OUT_DIR"), "/digits.rs"));
}

type Image = [[[[f32; 8]; 8]; 1]; 1];

const SHARED_BYTES: usize =
    if gate::WORKSPACE_BYTES > digits::WORKSPACE_BYTES { gate::WORKSPACE_BYTES } else { digits::WORKSPACE_BYTES };

static SHARED: exported::rt::StaticWorkspace<SHARED_BYTES> = exported::rt::StaticWorkspace::new();

fn main() -> Result<(), Box<dyn Error>> {
    let mut workspace = SHARED.take().ok_or("the workspace is taken")?;
    let (mut gate, mut digits) = (gate::Model::new(), digits::Model::new());

    for (name, image) in [("a one", one()), ("the same ink, scattered", scattered())] {
        let probability = gate.forward(&mut workspace, gate::Inputs { image: &image })?.output[0][0];
        print!("{name}: {:.1}% a digit", probability * 100.0);
        if probability > 0.5 {
            let scores = digits.forward(&mut workspace, digits::Inputs { image: &image })?.output[0];
            let best = (0..10).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
            print!(", a {best} ({:.1}%)", scores[best] * 100.0);
        }
        println!();
    }
    println!(
        "workspace: {} bytes for gate, {} for digits, {SHARED_BYTES} for both",
        gate::WORKSPACE_BYTES,
        digits::WORKSPACE_BYTES
    );
    Ok(())
}

/// An upright stroke.
fn one() -> Image {
    let mut image = Image::default();
    for row in &mut image[0][0] {
        (row[3], row[4]) = (0.9, 0.8);
    }
    image
}

/// As much ink, in places that make no digit.
fn scattered() -> Image {
    let mut image = Image::default();
    for (y, row) in image[0][0].iter_mut().enumerate() {
        (row[(y * 5 + 1) % 8], row[(y * 3 + 6) % 8]) = (0.9, 0.8);
    }
    image
}
