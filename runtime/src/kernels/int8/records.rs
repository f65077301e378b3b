//! How weights lie for the kernels of this module: *records*, one per few output channels, of everything that is read for
//! these, in the order it is read. Written by the compiler.
//!
//! Two channels share a word of weights: each of its halves is `256 * odd + even`, for the channels `2 i + 1` and `2 i`. The
//! products with such a word sum up to `256 * (sum of the odd channel) + (sum of the even one)`; those with its low bytes
//! alone to the sum of the even one. The difference, divided by 256, is exact. So weights take a byte each, and half of the
//! instructions that would widen them are saved. [`pairable`] says when all this fits.
//!
//! Four neighbours along the inner dimension are the halves of two words: `(0, 2)` and `(1, 3)`, which is what widening four
//! bytes in a register gives.

/// Pixels of a tile.
pub const PIXELS: usize = 3;

/// Pairs of channels in a record of a vector product, but for the last record.
pub const GROUP: usize = 3;

/// Taps of a depthwise convolution at most.
pub const TAPS: usize = 64;

/// Words of a tile's record; `turns` is the inner dimension in eights, rounded up.
pub const fn tile_words(turns: usize) -> usize {
    4 + 4 * turns
}

/// Words of the records of a vector product; `fours` is the inner dimension in fours.
pub const fn vector_words(fours: usize, pairs: usize) -> usize {
    pairs * (4 + 2 * fours)
}

/// Words of a record of four channels of a depthwise convolution with so many pairs of taps.
pub const fn depthwise_words(pairs: usize) -> usize {
    8 + 4 * pairs
}

/// The records of a vector product with so many pairs of channels: pairs in a record, and how many such records.
pub fn groups(pairs: usize) -> [(usize, usize); 2] {
    [(GROUP, pairs / GROUP), (pairs % GROUP, (pairs % GROUP).min(1))]
}

/// One output channel.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    /// Along the inner dimension.
    pub weights: &'a [i8],
    /// Added to the sum.
    pub bias: i32,
    /// The result is `(sum * factor) / 2^32`.
    pub factor: i32,
}

impl Channel<'_> {
    /// A channel that is not there.
    pub const NONE: Channel<'static> = Channel { weights: &[], bias: 0, factor: 0 };

    fn weight(&self, k: usize) -> i32 {
        self.weights.get(k).map_or(0, |w| i32::from(*w))
    }

    /// Greatest sum that inputs of 8 bits can give.
    pub fn greatest(&self) -> u64 {
        let sum: u64 = self.weights.iter().map(|w| u64::from(w.unsigned_abs())).sum();
        128 * sum + u64::from(self.bias.unsigned_abs())
    }
}

/// Whether two channels may share their words: no half leaves 16 bits, no sum of the odd channel 24.
pub fn pairable(even: &Channel<'_>, odd: &Channel<'_>) -> bool {
    let halves = (0..odd.weights.len()).all(|k| i16::try_from(256 * odd.weight(k) + even.weight(k)).is_ok());
    halves && even.greatest() < 1 << 23 && odd.greatest() < (1 << 23) - (1 << 16)
}

/// The weights at `k` and `k + 2` of two channels.
fn word(even: &Channel<'_>, odd: &Channel<'_>, k: usize) -> i32 {
    let half = |k: usize| (256 * odd.weight(k) + even.weight(k)) & 0xffff;
    half(k) | half(k + 2) << 16
}

fn pair<'a>(channels: &[Channel<'a>], pair: usize) -> [Channel<'a>; 2] {
    [0, 1].map(|i| channels.get(2 * pair + i).copied().unwrap_or(Channel::NONE))
}

fn sums([even, odd]: &[Channel<'_>; 2]) -> [i32; 2] {
    [256 * odd.bias + even.bias, even.bias]
}

/// Records of tiles: per pair of channels the first sums of the raw words and of the even channel, the words along the inner
/// dimension, the factors of both.
pub fn tiles<'a>(channels: &'a [Channel<'a>], inner: usize) -> impl Iterator<Item = i32> + 'a {
    (0..channels.len().div_ceil(2)).flat_map(move |i| {
        let both = pair(channels, i);
        let words = (0..inner.div_ceil(8) * 4).map(move |j| word(&both[0], &both[1], j / 2 * 4 + j % 2));
        sums(&both).into_iter().chain(words).chain(both.map(|c| c.factor))
    })
}

/// Records of vector products: per [`GROUP`] pairs all first sums, the words along the inner dimension (for each, all pairs),
/// all factors.
pub fn vectors<'a>(channels: &'a [Channel<'a>], inner: usize) -> impl Iterator<Item = i32> + 'a {
    let pairs = channels.len().div_ceil(2);
    (0..pairs.div_ceil(GROUP)).flat_map(move |group| {
        let members = group * GROUP..pairs.min((group + 1) * GROUP);
        let each = move || members.clone().map(move |i| pair(channels, i));
        let words = each.clone();
        let words = (0..inner.div_ceil(4) * 2)
            .flat_map(move |j| words().map(move |both| word(&both[0], &both[1], j / 2 * 4 + j % 2)));
        let first = each().flat_map(|both| sums(&both));
        let factors = each().flat_map(|both| both.map(|c| c.factor));
        first.chain(words).chain(factors)
    })
}

/// Records of depthwise convolutions: per four channels the first sums, for each pair of taps four words whose halves are
/// the weights of the two, the factors. If channels are left, the last record is of the last four, some of which have one
/// already.
pub fn depthwise<'a>(channels: &'a [Channel<'a>], taps: usize) -> impl Iterator<Item = i32> + 'a {
    let (fours, rest) = channels.as_chunks::<4>();
    let last = if rest.is_empty() { None } else { channels.last_chunk::<4>() };
    fours.iter().chain(last).flat_map(move |four| {
        let words = (0..taps.div_ceil(2))
            .flat_map(move |pair| four.iter().map(move |c| c.weight(2 * pair) & 0xffff | c.weight(2 * pair + 1) << 16));
        four.iter().map(|c| c.bias).chain(words).chain(four.iter().map(|c| c.factor))
    })
}
