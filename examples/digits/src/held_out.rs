//! `held-out.bin`: images, labels and PyTorch's answers. The layout is described in `train.py`.

/// Rows, and columns, of an image.
pub const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
const CLASSES: usize = 10;

/// The whole file.
pub struct HeldOut<'a> {
    pixels: &'a [[u8; PIXELS]],
    labels: &'a [u8],
    torch: &'a [[[u8; 4]; CLASSES]],
    /// How many PyTorch classifies correctly.
    pub torch_right: usize,
}

/// One image.
#[derive(Clone)]
pub struct Sample {
    /// Ink, 0..=16, row by row.
    pub pixels: [u8; PIXELS],
    /// The digit that was written.
    pub label: u8,
    /// PyTorch's probability of each digit.
    pub torch: [f32; CLASSES],
}

impl<'a> HeldOut<'a> {
    /// Reads the file; `None` if it is not of that form.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (torch_right, rest) = rest.split_first_chunk()?;
        let count = u32::from_le_bytes(*count) as usize;
        let (pixels, rest) = rest.split_at_checked(count.checked_mul(PIXELS)?)?;
        let (labels, rest) = rest.split_at_checked(count)?;
        let (torch, pixels) = (rest.as_chunks::<4>().0.as_chunks().0, pixels.as_chunks().0);
        (torch.len() == count && rest.len() == count * CLASSES * 4).then_some(Self {
            pixels,
            labels,
            torch,
            torch_right: u32::from_le_bytes(*torch_right) as usize,
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// All images.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        let answers = self.torch.iter().map(|answer| answer.map(f32::from_le_bytes));
        core::iter::zip(self.pixels, self.labels).zip(answers).map(|((&pixels, &label), torch)| Sample {
            pixels,
            label,
            torch,
        })
    }
}

impl Sample {
    /// The image as the network takes it: batch, channel, rows, columns, in 0..=1.
    pub fn image(&self) -> [[[[f32; SIDE]; SIDE]; 1]; 1] {
        let mut image = [[[[0.0; SIDE]; SIDE]; 1]; 1];
        for (to, &from) in image.as_flattened_mut().as_flattened_mut().as_flattened_mut().iter_mut().zip(&self.pixels) {
            *to = f32::from(from) / 16.0;
        }
        image
    }
}
