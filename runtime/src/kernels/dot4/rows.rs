//! Kernel rows of neighbouring windows: where they lie, or copied with what lies outside the image.

use crate::kernels::depthwise::taps_inside;

/// An image whose pixels are neighbours, and the kernel that reads it: one plane, whose columns are neighbours.
pub(super) struct Source<'a, X> {
    pub x: &'a [X],
    pub channels: usize,
    pub size: [usize; 3],
    /// Kernel rows.
    pub rows: usize,
    /// Distance of kernel rows.
    pub dilation: usize,
    /// Strides: image, d, h.
    pub strides: [usize; 3],
    /// What lies outside.
    pub outside: X,
}

impl<X: Copy> Source<'_, X> {
    /// Where the first kernel row of this corner begins, if all of them, `columns` elements long, lie inside.
    #[inline(always)]
    pub fn inside(&self, [n, d, h, w]: [usize; 4], columns: usize) -> Option<usize> {
        let (last, right) = (h.wrapping_add((self.rows - 1) * self.dilation), w.wrapping_add(columns / self.channels));
        if d >= self.size[0] || h >= self.size[1] || last >= self.size[1] || w >= self.size[2] || right > self.size[2] {
            return None;
        }
        Some(n * self.strides[0] + d * self.strides[1] + h * self.strides[2] + w * self.channels)
    }

    /// Copies kernel rows of `columns` elements.
    #[inline(always)]
    pub fn copy(&self, [n, d, h, w]: [usize; 4], columns: usize, to: &mut [X]) {
        let pixels = columns / self.channels.max(1);
        let (from_pixel, to_pixel) = taps_inside(w as isize, self.size[2], pixels, 1);
        let mut rest = to;
        for i in 0..self.rows {
            let Some((row, next)) = rest.split_at_mut_checked(columns) else { break };
            rest = next;
            let h = h.wrapping_add(i * self.dilation);
            if d >= self.size[0] || h >= self.size[1] {
                row.fill(self.outside);
                continue;
            }
            let at = n * self.strides[0] + d * self.strides[1] + h * self.strides[2];
            let at = at.wrapping_add(w.wrapping_add(from_pixel).wrapping_mul(self.channels));
            let (left, more) = row.split_at_mut_checked(from_pixel * self.channels).unwrap_or_default();
            let inside = (to_pixel - from_pixel) * self.channels;
            let (middle, right) = more.split_at_mut_checked(inside).unwrap_or_default();
            left.fill(self.outside);
            if let Some(from) = self.x.get(at..at + inside) {
                middle.copy_from_slice(from);
            }
            right.fill(self.outside);
        }
    }
}
