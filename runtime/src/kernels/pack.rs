//! The panel format: `[panel][inner][width]`, columns beyond the last filled with the default value. Written by the
//! compiler, read by every level of an architecture.

/// Elements of `columns` columns of `inner` rows in panels of `width`.
pub const fn panels_len(width: usize, inner: usize, columns: usize) -> usize {
    columns.div_ceil(width) * width * inner
}

/// Packs a matrix given by its elements `at(k, column)`; stops at the end of `to`.
pub fn panels<T: Copy + Default>(
    width: usize,
    inner: usize,
    columns: usize,
    at: impl Fn(usize, usize) -> T,
    to: &mut [T],
) {
    for (panel, to) in to.chunks_mut((inner * width).max(1)).enumerate() {
        for (k, row) in to.chunks_mut(width.max(1)).enumerate() {
            for (lane, to) in row.iter_mut().enumerate() {
                let column = panel * width + lane;
                *to = if column < columns { at(k, column) } else { T::default() };
            }
        }
    }
}
