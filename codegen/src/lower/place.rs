//! Arithmetic on places: what views do to them, and which memory order they have.

use super::step::{BufferId, Place};
use crate::ir::View;
use crate::sym::Expr;
use exported_runtime::DType;

impl Place {
    /// A dense place whose dims stand in memory as `order` says, outermost first.
    pub fn dense(buffer: BufferId, dtype: DType, shape: &[Expr], order: &[usize]) -> Place {
        let mut strides = vec![Expr::Int(0); shape.len()];
        let mut stride = Expr::Int(1);
        for &d in order.iter().rev() {
            strides[d] = stride.clone();
            stride = stride * shape[d].clone();
        }
        Place { buffer, dtype, offset: Expr::Int(0), shape: shape.to_vec(), strides }
    }

    /// Whether the elements fill memory without gaps, dims in this order. Strides of dims of size 1 do not matter.
    pub fn is_dense(&self, order: &[usize]) -> bool {
        let mut stride = Expr::Int(1);
        for &d in order.iter().rev() {
            if self.shape[d] == Expr::Int(1) {
                continue;
            }
            if self.strides[d] != stride {
                return false;
            }
            stride = stride * self.shape[d].clone();
        }
        true
    }

    /// The order of dims in memory, outermost first, if the place is dense in any.
    pub fn dense_order(&self) -> Option<Vec<usize>> {
        let order = self.memory_order();
        self.is_dense(&order).then_some(order)
    }

    /// Dims by falling stride; dims of size 1 and symbolic strides that cannot be compared keep their logical order.
    pub fn memory_order(&self) -> Vec<usize> {
        let rank = self.shape.len();
        let row_major: Vec<usize> = (0..rank).collect();
        if self.is_dense(&row_major) {
            return row_major;
        }
        if rank >= 3 {
            let last = channels_last(rank);
            if self.is_dense(&last) {
                return last;
            }
        }
        let mut order = row_major;
        // A dim of size 1 takes the stride of the dim before it, so that sorting leaves it where it stands.
        let mut previous = i64::MAX;
        let mut key = |(size, stride): (&Expr, &Expr)| {
            if *size != Expr::Int(1) {
                previous = match stride.as_int() {
                    Some(0) | None => previous,
                    Some(stride) => stride.abs(),
                };
            }
            previous
        };
        let keys: Vec<i64> = self.shape.iter().zip(&self.strides).map(&mut key).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(keys[d]));
        order
    }

    /// The place of a view of this value; `None` where the elements would have to move.
    pub fn view(&self, view: &View) -> Option<Place> {
        match view {
            View::Reshape(shape) => self.reshape(shape),
            View::Permute(perm) => Some(Place {
                shape: perm.iter().map(|&p| self.shape[p].clone()).collect(),
                strides: perm.iter().map(|&p| self.strides[p].clone()).collect(),
                ..self.clone()
            }),
            View::Slice { dim, start, len, step } => Some(self.slice(*dim, start, len, *step)),
            View::Expand(shape) => Some(self.expand(shape)),
            View::Unfold { dim, size, step } => {
                let mut place = self.clone();
                let stride = self.strides[*dim].clone();
                let windows = Expr::floordiv(self.shape[*dim].clone() - Expr::Int(*size), *step) + Expr::Int(1);
                place.shape[*dim] = windows;
                place.strides[*dim] = stride.clone() * Expr::Int(*step);
                place.shape.push(Expr::Int(*size));
                place.strides.push(stride);
                Some(place)
            }
            View::Flip(dims) => {
                let mut place = self.clone();
                for &d in dims {
                    let last = (self.shape[d].clone() - Expr::Int(1)) * self.strides[d].clone();
                    place.offset = place.offset + last;
                    place.strides[d] = Expr::Int(0) - self.strides[d].clone();
                }
                Some(place)
            }
        }
    }

    /// `len` entries of `dim` from `start` in steps.
    pub fn slice(&self, dim: usize, start: &Expr, len: &Expr, step: i64) -> Place {
        let mut place = self.clone();
        place.offset = place.offset + start.clone() * self.strides[dim].clone();
        place.shape[dim] = len.clone();
        place.strides[dim] = self.strides[dim].clone() * Expr::Int(step);
        place
    }

    /// Broadcast to `shape` (aligned at the right): repeated dims have stride 0.
    pub fn expand(&self, shape: &[Expr]) -> Place {
        let lead = shape.len() - self.shape.len();
        let strides = (0..shape.len())
            .map(|i| match i.checked_sub(lead) {
                Some(d) if self.shape[d] == shape[i] => self.strides[d].clone(),
                _ => Expr::Int(0),
            })
            .collect();
        Place { shape: shape.to_vec(), strides, ..self.clone() }
    }

    /// The same elements in logical row-major order under other sizes, if strides can say it.
    ///
    /// Both shapes are cut into the finest groups of equal product; a group is expressible when its old dims are
    /// contiguous relative to each other.
    fn reshape(&self, shape: &[Expr]) -> Option<Place> {
        let one = Expr::Int(1);
        if shape.contains(&Expr::Int(0)) {
            // Without elements there is nothing that could move.
            let order: Vec<usize> = (0..shape.len()).collect();
            return Some(Place { offset: self.offset.clone(), ..Place::dense(self.buffer, self.dtype, shape, &order) });
        }
        let old: Vec<usize> = (0..self.shape.len()).filter(|&d| self.shape[d] != one).collect();
        let mut strides = vec![Expr::Int(0); shape.len()];
        let (mut i, mut j) = (0, 0);
        while i < old.len() {
            let (mut from, mut to) = (self.shape[old[i]].clone(), Expr::Int(1));
            let (old_start, new_start) = (i, j);
            i += 1;
            while from != to {
                // Grow the side that is certainly smaller; symbolic sizes compare only when equal.
                if j < shape.len() && !certainly_less(&from, &to) {
                    to = to * shape[j].clone();
                    j += 1;
                } else if i < old.len() {
                    from = from * self.shape[old[i]].clone();
                    i += 1;
                } else {
                    return None;
                }
            }
            for pair in old[old_start..i].windows(2) {
                if self.strides[pair[0]] != self.strides[pair[1]].clone() * self.shape[pair[1]].clone() {
                    return None;
                }
            }
            let mut stride = self.strides[old[i - 1]].clone();
            for d in (new_start..j).rev() {
                strides[d] = stride.clone();
                stride = stride * shape[d].clone();
            }
        }
        if shape[j..].iter().any(|s| *s != one) {
            return None;
        }
        Some(Place { shape: shape.to_vec(), strides, ..self.clone() })
    }
}

fn certainly_less(a: &Expr, b: &Expr) -> bool {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => a < b,
        (None, Some(_)) => false,
        (Some(_), None) => true,
        (None, None) => false,
    }
}

/// The memory order of channels-last: batch, spatial dims, channels.
pub fn channels_last(rank: usize) -> Vec<usize> {
    let mut order = vec![0];
    order.extend(2..rank);
    order.extend((1..rank).take(1));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(list: &[i64]) -> Vec<Expr> {
        list.iter().map(|&v| Expr::Int(v)).collect()
    }

    fn place(shape: &[i64], strides: &[i64]) -> Place {
        let (shape, strides) = (sizes(shape), sizes(strides));
        Place { buffer: BufferId(0), dtype: DType::F32, offset: Expr::Int(0), shape, strides }
    }

    #[test]
    fn reshape_follows_strides() {
        let x = place(&[2, 3, 4], &[12, 4, 1]);
        assert_eq!(x.reshape(&sizes(&[6, 4])).map(|p| p.strides), Some(sizes(&[4, 1])));
        assert_eq!(x.reshape(&sizes(&[2, 1, 2, 6])).map(|p| p.strides), Some(sizes(&[12, 12, 6, 1])));
        let last = place(&[1, 8, 5, 5], &[200, 1, 40, 8]);
        assert_eq!(last.reshape(&sizes(&[1, 200])), None);
        assert_eq!(last.reshape(&sizes(&[8, 25])).map(|p| p.strides), Some(sizes(&[1, 8])));
        let pooled = place(&[1, 8, 1, 1], &[8, 1, 8, 8]);
        assert_eq!(pooled.reshape(&sizes(&[1, 8])).map(|p| p.strides), Some(sizes(&[8, 1])));
        let scalar = place(&[], &[]);
        assert_eq!(scalar.reshape(&sizes(&[1, 1])).map(|p| p.shape), Some(sizes(&[1, 1])));
        let repeated = place(&[3, 4], &[0, 1]);
        assert_eq!(repeated.reshape(&sizes(&[12])), None);
    }

    #[test]
    fn memory_order_of_permuted_places() {
        assert_eq!(place(&[2, 3, 4, 5], &[60, 1, 15, 3]).dense_order(), Some(vec![0, 2, 3, 1]));
        assert_eq!(place(&[3, 4], &[1, 3]).dense_order(), Some(vec![1, 0]));
        assert_eq!(place(&[3, 4], &[8, 1]).dense_order(), None);
        assert_eq!(place(&[1, 3, 4], &[999, 1, 3]).dense_order(), Some(vec![0, 2, 1]));
    }

    #[test]
    fn windows_overlap() {
        let x = place(&[3, 8], &[8, 1]).view(&View::Unfold { dim: 1, size: 3, step: 2 }).expect("always possible");
        assert_eq!((x.shape.clone(), x.strides.clone()), (sizes(&[3, 3, 3]), sizes(&[8, 2, 1])));
        assert_eq!(x.dense_order(), None);
    }

    #[test]
    fn flips_start_at_the_end() {
        let flipped = place(&[3, 4], &[4, 1]).view(&View::Flip(vec![0])).expect("always possible");
        assert_eq!((flipped.offset, flipped.strides), (Expr::Int(8), sizes(&[-4, 1])));
    }
}
