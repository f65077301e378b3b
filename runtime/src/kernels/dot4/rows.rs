//! Kernel rows of neighbouring windows: where they lie, or copied with what lies outside the image.

use super::Line;
use crate::kernels::depthwise::taps_inside;
use crate::kernels::tile::from;

/// Kernel rows at most that are read where they lie.
pub(super) const LINES: usize = 8;

/// An image whose pixels are neighbours, and the kernel that reads it: one plane, whose columns are neighbours.
pub(super) struct Source<'a, X> {
    pub x: &'a [X],
    pub channels: usize,
    pub size: [usize; 3],
    /// Kernel rows, at most [`LINES`].
    pub rows: usize,
    /// Distance of kernel rows.
    pub dilation: usize,
    /// Elements of a kernel row that meet weights, which are filled up to fours.
    pub row: usize,
    /// Strides: image, d, h.
    pub strides: [usize; 3],
    /// What lies outside.
    pub outside: X,
}

impl<'a, X: Copy> Source<'a, X> {
    /// Where the first kernel row of this corner begins, if all of them, `columns` elements long, lie inside.
    #[inline(always)]
    pub fn inside(&self, [n, d, h, w]: [usize; 4], columns: usize) -> Option<usize> {
        let (last, right) = (h.wrapping_add((self.rows - 1) * self.dilation), w.wrapping_add(columns / self.channels));
        if d >= self.size[0] || h >= self.size[1] || last >= self.size[1] || w >= self.size[2] || right > self.size[2] {
            return None;
        }
        Some(n * self.strides[0] + d * self.strides[1] + h * self.strides[2] + w * self.channels)
    }

    /// These kernel rows where they lie.
    #[inline(always)]
    pub fn in_place(&self, corner: [usize; 4], columns: usize) -> Option<[Line<'a, X>; LINES]> {
        let at = self.inside(corner, columns)?;
        let fours = self.row.div_ceil(4);
        let mut lines = [Line { x: &self.x[..0], weight: 0, fours }; LINES];
        for (i, line) in lines.iter_mut().take(self.rows).enumerate() {
            // Up to three bytes more than the row: they meet weights of 0.
            let start = at + i * self.dilation * self.strides[2];
            line.x = self.x.get(start..start + columns + 3).or_else(|| self.x.get(start..start + columns))?;
            line.weight = i * fours;
        }
        let whole = self.row.is_multiple_of(4) || lines.iter().take(self.rows).all(|line| line.x.len() > columns);
        whole.then_some(lines)
    }

    /// The same, copied with what lies outside the image.
    #[inline(always)]
    pub fn copied<'s>(&self, corner: [usize; 4], columns: usize, to: &'s mut [X]) -> [Line<'s, X>; LINES] {
        self.copy(corner, columns, to);
        let fours = self.row.div_ceil(4);
        let mut lines = [Line { x: &to[..0], weight: 0, fours }; LINES];
        for (i, line) in lines.iter_mut().take(self.rows).enumerate() {
            (line.x, line.weight) = (from(to, i * columns), i * fours);
        }
        lines
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
