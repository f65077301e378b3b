//! What matrix products, convolutions and pooling share: the arithmetic of a dtype, packed weights, and epilogues.

use super::{Access, Field, Lowering, Place, Region, numel};
use crate::diag::Diagnostic;
use crate::ir::{Constant, Epilogue, Node, Requantize, ValueId};
use crate::options::MultiplyAdd;
use crate::sym::Expr;
use exported_runtime::kernels::pack;
use exported_runtime::{Bf16, DType, F16};

type Result<T> = std::result::Result<T, Diagnostic>;

/// The implementation of `rt::kernels::arith::Arith` for layers with this epilogue on this dtype, and what sums are kept
/// in.
pub(super) fn arithmetic(node: &Node, dtype: DType, epilogue: &Epilogue) -> Result<(&'static str, DType)> {
    match epilogue.requantize {
        Some(r) => Ok((integers(node, dtype, r)?, DType::I32)),
        None => plain_arithmetic(node, dtype, epilogue.dequantize),
    }
}

/// The arithmetic of layers on quantized activations.
pub(super) fn integers(node: &Node, dtype: DType, requantize: Requantize) -> Result<&'static str> {
    Ok(match (dtype, requantize.dtype) {
        (DType::I8, DType::I8) => "rt::kernels::arith::Quantized<i8, i8>",
        (DType::I8, DType::U8) => "rt::kernels::arith::Quantized<i8, u8>",
        (DType::U8, DType::I8) => "rt::kernels::arith::Quantized<u8, i8>",
        (DType::U8, DType::U8) => "rt::kernels::arith::Quantized<u8, u8>",
        (DType::I16, DType::I16) => "rt::kernels::arith::Quantized<i16, i16>",
        (DType::I16, DType::I8) => "rt::kernels::arith::Quantized<i16, i8>",
        (DType::I8, DType::I16) => "rt::kernels::arith::Quantized<i8, i16>",
        _ => return Err(Diagnostic::bug(format!("a quantized layer on {}", dtype.name())).at(&node.origin)),
    })
}

/// What the numbers of a layer stand for: a mean has one factor for all channels.
pub(super) fn format(requantize: Option<Requantize>, factor: i32) -> Field {
    let Some(r) = requantize else { return Field::Unit };
    let int = |value: i32| Field::Int(Expr::Int(i64::from(value)));
    Field::Struct(
        "arith::Rescale",
        vec![
            ("input_zero", int(r.input_zero)),
            ("output_zero", int(r.output_zero)),
            ("factor", int(factor)),
            ("shift", size(r.shift as usize)),
        ],
    )
}

/// The arithmetic of everything else.
pub(super) fn plain_arithmetic(node: &Node, dtype: DType, quantized: bool) -> Result<(&'static str, DType)> {
    Ok(match (dtype, quantized) {
        (DType::F32, true) => ("rt::kernels::arith::I8Weights", DType::F32),
        (DType::F32, false) => ("rt::kernels::arith::F32", DType::F32),
        (DType::F64, false) => ("rt::kernels::arith::Plain<f64>", DType::F64),
        (DType::F16, false) => ("rt::kernels::arith::Half<rt::F16>", DType::F32),
        (DType::Bf16, false) => ("rt::kernels::arith::Half<rt::Bf16>", DType::F32),
        (DType::U8, false) => ("rt::kernels::arith::Plain<u8>", DType::U8),
        (DType::I8, false) => ("rt::kernels::arith::Plain<i8>", DType::I8),
        (DType::I16, false) => ("rt::kernels::arith::Plain<i16>", DType::I16),
        (DType::I32, false) => ("rt::kernels::arith::Plain<i32>", DType::I32),
        (DType::I64, false) => ("rt::kernels::arith::Plain<i64>", DType::I64),
        _ => {
            let name = node.origin.target.as_str();
            return Err(Diagnostic::unsupported(format!("`{name}` on {}", dtype.name())).at(&node.origin));
        }
    })
}

impl Lowering<'_> {
    /// The panel type of the target, as generic argument and as field.
    pub(super) fn panel(&self) -> &'static str {
        match (self.options.target.panel(), self.options.multiply_add()) {
            (16, _) => "rt::N16",
            (_, None) => "rt::N4",
            (_, Some(MultiplyAdd::Fused)) => "rt::Fpu4::<true>",
            (_, Some(MultiplyAdd::Separate)) => "rt::Fpu4::<false>",
        }
    }

    /// Whether the kernel of convolutions in this arithmetic gathers patches always: where a Cortex-M has an FPU.
    pub(super) fn gathers(&self, arith: &str) -> bool {
        arith.ends_with("::F32") && self.options.multiply_add().is_some()
    }

    /// Elements of a constant, packed into panels (`groups` of them one after the other). `at(group, k, column)` is the
    /// number of an element.
    pub(super) fn packed(
        &mut self,
        constant: &Constant,
        [groups, inner, columns]: [usize; 3],
        at: impl Fn(usize, usize, usize) -> usize,
    ) -> Region {
        let width = self.options.target.panel();
        let size = constant.dtype.size();
        let mut data = Vec::new();
        for group in 0..groups {
            // Element numbers from 1; 0 is what fills the last panel.
            let mut numbers = vec![0usize; pack::panels_len(width, inner, columns)];
            pack::panels(width, inner, columns, |k, column| at(group, k, column) + 1, &mut numbers);
            for number in numbers {
                match number.checked_sub(1).and_then(|i| constant.data.get(i * size..(i + 1) * size)) {
                    Some(element) => data.extend_from_slice(element),
                    None => data.resize(data.len() + size, 0),
                }
            }
        }
        self.weights(&constant.name, constant.dtype, data.into())
    }

    /// A vector over the output channels in the accumulator's dtype.
    fn channel_vector(&mut self, node: &Node, v: ValueId, accumulator: DType) -> Result<Field> {
        if let Some(constant) = self.constant_of(v) {
            let data = converted(constant, accumulator)
                .ok_or_else(|| Diagnostic::unsupported(format!("`{}` as an addend", constant.name)).at(&node.origin))?;
            return Ok(some(Field::Read(self.weights(&constant.name, accumulator, data.into()))));
        }
        if self.dtype(v) != accumulator {
            let ty = self.graph.ty(v);
            return Err(Diagnostic::unsupported(format!("a bias of {ty} that is no constant")).at(&node.origin));
        }
        Ok(some(Field::Read(self.read_dense(v, &[0]))))
    }

    /// The fields of an epilogue whose operands start at `first`, and the place of the result, dense in `order` where a
    /// residual must lie alike; `free` chooses it otherwise.
    pub(super) fn epilogue(
        &mut self,
        node: &Node,
        epilogue: &Epilogue,
        accumulator: DType,
        order: &[usize],
        free: impl FnOnce(&mut Self, ValueId) -> Place,
    ) -> Result<(Vec<(&'static str, Field)>, Place)> {
        let mut operands = node.inputs.iter().skip(2).copied();
        let mut vector = |cx: &mut Self, given: bool| match operands.next().filter(|_| given) {
            Some(v) => cx.channel_vector(node, v, accumulator),
            None => Ok(Field::Option(None)),
        };
        let mut fields = Vec::new();
        if epilogue.dequantize {
            fields.push(("scale", vector(self, true)?));
            fields.push(("zero_point", vector(self, true)?));
        } else if epilogue.requantize.is_some() {
            fields.extend([("scale", vector(self, true)?), ("zero_point", Field::Option(None))]);
        }
        for (name, given) in [("bias", epilogue.bias), ("slope", epilogue.slope)] {
            fields.push((name, if given { vector(self, true)? } else { Field::Option(None) }));
        }
        let y = node.outputs[0];
        let (place, residual, in_place) = match operands.next() {
            Some(residual) => self.beside(node, y, residual, order),
            None => (free(self, y), Field::Option(None), false),
        };
        fields.push(("residual", residual));
        fields.push(("in_place", Field::Bool(in_place)));
        fields.push(("y", Field::Write { region: place.region(Access::Whole), update: in_place }));
        let (low, high) = epilogue
            .clamp
            .map_or((f64::NEG_INFINITY, f64::INFINITY), |(low, high)| (f64::from_bits(low), f64::from_bits(high)));
        let (low, high) = epilogue.requantize.map_or((low, high), |r| (f64::from(r.bounds.0), f64::from(r.bounds.1)));
        fields.push(("low", bound(accumulator, low)));
        fields.push(("high", bound(accumulator, high)));
        fields.push(("format", format(epilogue.requantize, 0)));
        Ok((fields, place))
    }

    /// Places a result like its residual: over it, if nobody else needs it and no other operand stands in its memory.
    fn beside(&mut self, node: &Node, y: ValueId, residual: ValueId, order: &[usize]) -> (Place, Field, bool) {
        let there = self.place(residual);
        let alone = node.inputs.iter().filter(|&&v| v == residual).count() == 1
            && node
                .inputs
                .iter()
                .all(|&v| v == residual || self.places[v.0 as usize].as_ref().is_none_or(|p| p.buffer != there.buffer));
        if alone
            && there.is_dense(order)
            && let Some(place) = self.output_over(y, residual)
        {
            return (place, Field::Option(None), true);
        }
        let region = self.read_dense(residual, order);
        (self.output_dense(y, order), some(Field::Read(region)), false)
    }
}

/// `Some(field)`.
pub(super) fn some(field: Field) -> Field {
    Field::Option(Some(Box::new(field)))
}

/// `[a, b, ..]` of sizes.
pub(super) fn sizes<T: Into<Expr>>(list: impl IntoIterator<Item = T>) -> Field {
    Field::Array(list.into_iter().map(|e| Field::Usize(e.into())).collect())
}

/// A size.
pub(super) fn size(value: impl Into<Expr>) -> Field {
    Field::Usize(value.into())
}

/// Multiply-accumulates of a layer: outputs times inner dimension.
pub(super) fn macs(shape: &[Expr], inner: usize) -> Expr {
    numel(shape) * Expr::from(inner)
}

/// A bound of the result in the accumulator's dtype.
pub(super) fn bound(dtype: DType, value: f64) -> Field {
    match dtype {
        DType::F32 => Field::F32((value as f32).to_bits()),
        DType::F64 => Field::F64(value.to_bits()),
        _ => {
            let bits = 8 * dtype.size() as u32;
            let (least, greatest) = match dtype {
                DType::U8 | DType::U16 | DType::U32 => (0, (1i64 << bits) - 1),
                _ => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
            };
            Field::Int(Expr::Int((value as i64).clamp(least, greatest)))
        }
    }
}

/// The elements of a constant in another dtype; `None` where that is not meant to happen.
pub(crate) fn converted(constant: &Constant, to: DType) -> Option<Vec<u8>> {
    if constant.dtype == to {
        return Some(constant.data.to_vec());
    }
    let numbers = floats(constant)?;
    match to {
        DType::F32 => Some(numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()),
        DType::F64 => Some(numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
        _ => None,
    }
}

/// The elements of a constant as f64; `None` for integers of 64 bits and bool.
pub(crate) fn floats(constant: &Constant) -> Option<Vec<f64>> {
    let bytes = &constant.data;
    Some(match constant.dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        DType::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|b| f64::from(F16(u16::from_le_bytes(*b)).to_f32())).collect(),
        DType::Bf16 => bytes.as_chunks().0.iter().map(|b| f64::from(Bf16(u16::from_le_bytes(*b)).to_f32())).collect(),
        DType::I8 => bytes.iter().map(|b| f64::from(*b as i8)).collect(),
        DType::U8 => bytes.iter().map(|b| f64::from(*b)).collect(),
        DType::I16 => bytes.as_chunks().0.iter().map(|b| f64::from(i16::from_le_bytes(*b))).collect(),
        DType::I32 => bytes.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        _ => return None,
    })
}
