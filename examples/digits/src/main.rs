//! Classifies images of handwritten digits that the network never saw in training, and checks every answer against
//! PyTorch's. Run with `cargo run -p digits`; `train.py` beside this folder made the network and the images.
#![forbid(unsafe_code)]

mod held_out;

use held_out::{HeldOut, SIDE, Sample};
use std::error::Error;
use std::time::Instant;

mod digits {
    exported::include_exported!("../digits.pt2");
}

// All bytes that inference needs beside the weights; it may as well live in a static of a microcontroller.
static WORKSPACE: digits::StaticWorkspace = digits::StaticWorkspace::new();

fn main() -> Result<(), Box<dyn Error>> {
    let data = HeldOut::parse(include_bytes!("../held-out.bin")).ok_or("held-out.bin is damaged")?;
    let mut workspace = WORKSPACE.take().ok_or("the workspace is taken")?;
    let mut model = digits::Model::new();

    let start = Instant::now();
    let mut answers = Vec::new();
    for sample in data.samples() {
        let image = sample.image();
        let out = model.forward(&mut workspace, digits::Inputs { image: &image })?;
        answers.push(out.output[0]);
    }
    let time = start.elapsed() / answers.len() as u32;

    show(&pick(&data, &answers));
    report(&data, &answers);
    println!(
        "{} bytes of workspace, {} bytes of weights, {time:.1?} per image in this build",
        digits::WORKSPACE_BYTES,
        digits::WEIGHT_BYTES
    );
    Ok(())
}

/// Three images, and one that the network gets wrong, if there is one.
fn pick(data: &HeldOut<'_>, answers: &[[f32; 10]]) -> Vec<(Sample, [f32; 10])> {
    let all: Vec<_> = data.samples().zip(answers.iter().copied()).collect();
    let wrong = all.iter().find(|(sample, scores)| best(scores) != sample.label);
    all.iter().take(3).chain(wrong).cloned().collect()
}

/// Prints images side by side, each over its three best scores.
fn show(chosen: &[(Sample, [f32; 10])]) {
    const INK: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    for row in 0..SIDE {
        for (sample, _) in chosen {
            let pixels = &sample.pixels[row * SIDE..(row + 1) * SIDE];
            let line: String = pixels.iter().map(|&p| INK[usize::from(p).div_ceil(4).min(4)]).collect();
            print!("  {line}");
        }
        println!();
    }
    for rank in 0..3 {
        for (sample, scores) in chosen {
            let mut order: Vec<usize> = (0..10).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let digit = order[rank];
            let verdict = match (rank, digit == usize::from(sample.label)) {
                (0, true) => "right",
                (0, false) => "wrong",
                (_, true) => "label",
                (_, false) => "",
            };
            print!("  {:<16}", format!("{digit} {:>6.2}% {verdict}", scores[digit] * 100.0));
        }
        println!();
    }
    println!();
}

/// Prints the accuracy beside PyTorch's, and how far the probabilities are apart at most.
fn report(data: &HeldOut<'_>, answers: &[[f32; 10]]) {
    let right = data.samples().zip(answers).filter(|(sample, scores)| best(scores) == sample.label).count();
    let apart = data.samples().zip(answers).flat_map(|(sample, scores)| std::iter::zip(sample.torch, *scores));
    let apart = apart.map(|(theirs, ours)| (theirs - ours).abs()).fold(0.0, f32::max);
    println!("held-out images: {right} of {} right; PyTorch: {} right", data.len(), data.torch_right);
    println!("largest difference of a probability from PyTorch's: {apart:.1e}");
}

fn best(scores: &[f32; 10]) -> u8 {
    (0..10).max_by(|&a, &b| scores[usize::from(a)].total_cmp(&scores[usize::from(b)])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_accuracy_is_pytorchs() {
        let data = HeldOut::parse(include_bytes!("../held-out.bin")).expect("the file is whole");
        let mut bytes = vec![core::mem::MaybeUninit::uninit(); digits::WORKSPACE_BYTES + 64];
        let mut workspace = digits::Workspace::new(&mut bytes);
        let mut model = digits::Model::new();
        let mut right = 0;
        for sample in data.samples() {
            let out =
                model.forward(&mut workspace, digits::Inputs { image: &sample.image() }).expect("the shape is static");
            for (ours, theirs) in std::iter::zip(out.output[0], sample.torch) {
                assert!((ours - theirs).abs() <= 1e-6 + 1e-5 * theirs.abs(), "{ours} is not {theirs}");
            }
            right += usize::from(best(&out.output[0]) == sample.label);
        }
        assert_eq!((right, data.len()), (data.torch_right, 360));
    }

    /// The quantized twin, which takes integers here: what a pixel is as one is up to the caller.
    mod int8 {
        exported::include_exported!("../digits_int8.pt2", io = "quantized");
    }

    #[test]
    fn integers_get_the_answers_of_the_quantized_program() {
        let data = HeldOut::parse(include_bytes!("../held-out.bin")).expect("the file is whole");
        let mut bytes = vec![core::mem::MaybeUninit::uninit(); int8::WORKSPACE_BYTES + 64];
        let mut workspace = int8::Workspace::new(&mut bytes);
        let mut model = int8::Model::new();
        for (sample, torch) in data.samples().zip(include_bytes!("../int8.bin")) {
            let quantized = |pixel: f32| (pixel / int8::IMAGE_SCALE).round_ties_even() as i32 + int8::IMAGE_ZERO_POINT;
            let image =
                sample.image()[0].map(|c| c.map(|row| row.map(|pixel| quantized(pixel).clamp(-128, 127) as i8)));
            let out = model.forward(&mut workspace, int8::Inputs { image: &[image] }).expect("the shape is static");
            assert_eq!(best(&out.output[0]), *torch);
        }
    }
}
