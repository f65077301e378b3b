//! How weights lie for Helium: *records*, one per few output channels, of everything that is read for these, in the order it
//! is read. Written by the compiler. Weights are bytes, four to a word, in blocks of sixteen along the inner dimension.

use super::super::records::Channel;

/// Inputs that meet a register of weights.
const BLOCK: usize = 16;

/// Channels of two pixels whose sums are kept before they are scaled.
pub const CHUNK: usize = 48;

/// Taps of a turn of a depthwise convolution's loop.
pub const TURN: usize = 3;

/// Channels of a record of a depthwise convolution.
const LANES: usize = 8;

/// Words of a channel's weights.
const fn weight_words(inner: usize) -> usize {
    inner.div_ceil(BLOCK) * BLOCK / 4
}

/// Words of records per output channel of a row.
pub const fn row_words(inner: usize) -> usize {
    2 + weight_words(inner)
}

/// Groups of channels that share a record of a row: how many channels, and how many such records, in this order.
pub const fn row_groups(columns: usize) -> [(usize, usize); 4] {
    let rest = columns % 6;
    [(6, columns / 6), (4, rest / 4), (2, rest % 4 / 2), (1, rest % 2)]
}

/// Groups of three and of two channels of a chunk; one channel alone is two, the other without weights.
pub const fn tile_groups(columns: usize) -> [usize; 2] {
    match (columns / 3, columns % 3) {
        (threes, 0) => [threes, 0],
        (0, 1) => [0, 1],
        (threes, 1) => [threes - 1, 2],
        (threes, _) => [threes, 1],
    }
}

/// Words of the records of a chunk.
pub const fn chunk_words(inner: usize, columns: usize) -> usize {
    let [threes, twos] = tile_groups(columns);
    (3 * threes + 2 * twos) * (1 + weight_words(inner)) + columns
}

/// Words of the records of a tile.
pub const fn tile_words(inner: usize, columns: usize) -> usize {
    columns / CHUNK * chunk_words(inner, CHUNK) + chunk_words(inner, columns % CHUNK)
}

/// Words of the records of a depthwise convolution.
pub const fn depthwise_words(turns: usize, channels: usize) -> usize {
    channels.div_ceil(LANES) * (2 * LANES + turns * TURN * LANES / 4)
}

/// The first sums of a group, and of each block of inputs the weights of all its channels.
fn group<'a>(channels: &'a [Channel<'a>], size: usize, inner: usize) -> impl Iterator<Item = i32> + 'a {
    let member = move |i: usize| channels.get(i).copied().unwrap_or(Channel::NONE);
    let weights = (0..inner).step_by(BLOCK).flat_map(move |k| {
        (0..size).flat_map(move |i| (0..BLOCK / 4).map(move |word| word_of(&member(i), k + 4 * word)))
    });
    (0..size).map(move |i| member(i).bias).chain(weights)
}

/// The weights at `k` to `k + 3`, 0 beyond the last.
fn word_of(channel: &Channel<'_>, k: usize) -> i32 {
    i32::from_le_bytes([0, 1, 2, 3].map(|i| channel.weights.get(k + i).map_or(0, |w| *w as u8)))
}

fn inner_of(channels: &[Channel<'_>]) -> usize {
    channels.first().map_or(0, |c| c.weights.len())
}

/// Records of one row: per group the first sums, the weights, the factors.
pub fn rows<'a>(channels: &'a [Channel<'a>]) -> impl Iterator<Item = i32> + 'a {
    let inner = inner_of(channels);
    let mut first = 0;
    row_groups(channels.len()).into_iter().flat_map(|(size, count)| (0..count).map(move |_| size)).flat_map(
        move |size| {
            let members = channels.get(first..first + size).unwrap_or_default();
            first += size;
            group(members, size, inner).chain(members.iter().map(|c| c.factor))
        },
    )
}

/// Records of two rows: per chunk the groups, first sums and weights of each, then the factors of all.
pub fn tiles<'a>(channels: &'a [Channel<'a>]) -> impl Iterator<Item = i32> + 'a {
    let inner = inner_of(channels);
    channels.chunks(CHUNK).flat_map(move |chunk| {
        let [threes, twos] = tile_groups(chunk.len());
        let sizes = (0..threes).map(|i| (3 * i, 3)).chain((0..twos).map(move |i| (3 * threes + 2 * i, 2)));
        let groups = sizes.flat_map(move |(first, size)| {
            group(chunk.get(first..chunk.len().min(first + size)).unwrap_or_default(), size, inner)
        });
        groups.chain(chunk.iter().map(|c| c.factor))
    })
}

/// Records of depthwise convolutions: per eight channels the first sums, the weights of all for each tap, in whole turns, the
/// factors. Sums and factors: first those of the even channels.
pub fn depthwise<'a>(channels: &'a [Channel<'a>], taps: usize) -> impl Iterator<Item = i32> + 'a {
    channels.chunks(LANES).flat_map(move |eight| {
        let member = move |i: usize| eight.get(i).copied().unwrap_or(Channel::NONE);
        let apart = move || (0..LANES).map(move |i| member(i % (LANES / 2) * 2 + i / (LANES / 2)));
        let weight = move |i: usize, tap: usize| member(i).weights.get(tap).map_or(0, |w| *w as u8);
        let weights = (0..taps.next_multiple_of(TURN))
            .flat_map(move |tap| [0, 4].map(|first| i32::from_le_bytes([0, 1, 2, 3].map(|i| weight(first + i, tap)))));
        apart().map(|c| c.bias).chain(weights).chain(apart().map(|c| c.factor))
    })
}
