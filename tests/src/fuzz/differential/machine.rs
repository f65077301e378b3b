//! Executes steps in planned memory.
//!
//! Every access is checked: inside its buffer, of bytes that someone wrote (the arena begins as "nobody did"), and no step
//! writes what it reads but element by element. A kernel's region may have gaps between its rows; what nobody wrote is NaN
//! there, which no comparison survives.

use super::reference::indices;
use exported_codegen::ir::{Constant, Graph, eval};
use exported_codegen::lower::{BufferId, Field, Kernel, Loop, Place, Region, Steps, Storage, Work};
use exported_codegen::plan::Plan;
use exported_codegen::sym::Expr;
use exported_runtime::kernels::conv::{AnyStretch, Conv, Stretch, Stretches};
use exported_runtime::kernels::depthwise::{AnyWindow, Depthwise, Square, Window};
use exported_runtime::kernels::{arith::F32, matmul, reduce};
use exported_runtime::{N4, N16, Op, Panel, Portable};
use std::collections::BTreeMap;

/// Runs all steps; gives the outputs of the graph in row-major order.
pub fn run(steps: &Steps, plan: &Plan, graph: &Graph, inputs: &[Constant]) -> Vec<Constant> {
    let arena = vec![None; plan.bytes];
    let mut machine = Machine { steps, plan, inputs, arena };
    for (index, buffer) in steps.buffers.iter().enumerate() {
        if let Storage::Entered(input) = buffer.storage {
            machine.store(BufferId(index as u32), 0, &inputs[input].data);
        }
    }
    for step in &steps.steps {
        match &step.work {
            Work::Loop(work) => machine.nest(work),
            Work::Kernel(kernel) => machine.kernel(kernel),
            other => panic!("`{}` is no step of these graphs: {other:?}", step.name),
        }
    }
    let tensors = graph.outputs.iter().zip(&steps.outputs).filter_map(|(output, region)| {
        let exported_codegen::ir::OutputKind::Tensor(value) = output.kind else { return None };
        Some((graph.ty(value), region.as_ref()?))
    });
    let constant = |(ty, region): (&exported_codegen::ir::TensorType, &Region)| Constant {
        name: String::new(),
        dtype: ty.dtype,
        shape: ty.static_shape().expect("constant sizes"),
        data: machine.region(region).into(),
    };
    tensors.map(constant).collect()
}

struct Machine<'a> {
    steps: &'a Steps,
    plan: &'a Plan,
    inputs: &'a [Constant],
    /// A byte that nobody wrote is `None`.
    arena: Vec<Option<u8>>,
}

fn int(expr: &Expr) -> i64 {
    expr.as_int().unwrap_or_else(|| panic!("`{expr}` is no number"))
}

impl Machine<'_> {
    /// Its first byte in the arena, if it stands there.
    fn base(&self, buffer: BufferId) -> Option<usize> {
        self.plan.offsets[buffer.0 as usize]
    }

    /// Bytes from a place in a buffer on.
    fn load(&self, buffer: BufferId, start: usize, len: usize) -> Vec<u8> {
        let range = start..start + len;
        let name = &self.steps.buffers[buffer.0 as usize].name;
        let outside = || panic!("{range:?} lies outside of `{name}`");
        match (&self.steps.buffers[buffer.0 as usize].storage, self.base(buffer)) {
            (Storage::Weights(data), _) => data.get(range.clone()).unwrap_or_else(outside).to_vec(),
            (Storage::Input(input), _) => self.inputs[*input].data.get(range.clone()).unwrap_or_else(outside).to_vec(),
            (_, Some(base)) => {
                self.within(buffer, start, len);
                let bytes = self.arena[base + start..base + start + len].iter();
                bytes.map(|byte| byte.unwrap_or_else(|| panic!("`{name}` is read before it is written"))).collect()
            }
            _ => panic!("`{name}` stands nowhere"),
        }
    }

    fn store(&mut self, buffer: BufferId, start: usize, bytes: &[u8]) {
        self.within(buffer, start, bytes.len());
        let base = self.base(buffer).unwrap_or_else(|| panic!("buffer {} cannot be written", buffer.0));
        for (to, byte) in self.arena[base + start..].iter_mut().zip(bytes) {
            *to = Some(*byte);
        }
    }

    fn within(&self, buffer: BufferId, start: usize, len: usize) {
        let size = self.plan.sizes[buffer.0 as usize];
        assert!(start + len <= size, "{start}..{} lies outside of buffer {} of {size} bytes", start + len, buffer.0);
    }

    /// First byte and number of bytes of a region in its buffer.
    fn extent(&self, region: &Region) -> (usize, usize) {
        let size = self.steps.buffers[region.buffer.0 as usize].dtype.size();
        (int(&region.offset) as usize * size, int(&region.len) as usize * size)
    }

    fn region(&self, region: &Region) -> Vec<u8> {
        let (start, len) = self.extent(region);
        self.load(region.buffer, start, len)
    }

    // Loops.

    fn nest(&mut self, work: &Loop) {
        let shape: Vec<usize> = work.shape.iter().map(|size| int(size) as usize).collect();
        let mut written: BTreeMap<usize, usize> = BTreeMap::new();
        for place in &work.outputs {
            for (at, index) in indices(&shape).enumerate() {
                let address = self.address(place, &index).expect("results stand in the arena");
                for byte in address..address + place.dtype.size() {
                    assert!(written.insert(byte, at).is_none(), "a loop writes a byte twice");
                }
            }
        }
        let mut operands = Vec::new();
        for place in &work.inputs {
            let mut data = Vec::new();
            for (at, index) in indices(&shape).enumerate() {
                let (element, size) = (element(place, &index), place.dtype.size());
                data.extend(self.load(place.buffer, element * size, size));
                let address = self.address(place, &index);
                let other = address.and_then(|address| (address..address + size).find_map(|byte| written.get(&byte)));
                assert!(other.is_none_or(|other| *other == at), "a loop writes an element that another one reads");
            }
            operands.push(Constant {
                name: String::new(),
                dtype: place.dtype,
                shape: shape.clone(),
                data: data.into(),
            });
        }
        let operands: Vec<&Constant> = operands.iter().collect();
        let results = eval::pointwise(&work.formula, &shape, &operands).expect("a formula of constant sizes");
        for (place, result) in work.outputs.iter().zip(&results) {
            let size = place.dtype.size();
            for (index, bytes) in indices(&shape).zip(result.data.chunks_exact(size)) {
                self.store(place.buffer, element(place, &index) * size, bytes);
            }
        }
    }

    fn address(&self, place: &Place, index: &[usize]) -> Option<usize> {
        Some(self.base(place.buffer)? + element(place, index) * place.dtype.size())
    }

    // Kernels.

    fn kernel(&mut self, kernel: &Kernel) {
        self.apart(kernel);
        let call = Call { machine: self, kernel };
        let wide = kernel.generics.iter().any(|generic| generic == "rt::N16");
        let (region, bytes) = match kernel.path {
            "reduce::FloatSum" => {
                call.reduce(|x, y, [outer, n, inner]| run_op(reduce::FloatSum { x, y, outer, n, inner }))
            }
            "reduce::Max" => call.reduce(|x, y, [outer, n, inner]| run_op(reduce::Max { x, y, outer, n, inner })),
            "reduce::Min" => call.reduce(|x, y, [outer, n, inner]| run_op(reduce::Min { x, y, outer, n, inner })),
            "matmul::Linear" if wide => call.linear(N16),
            "matmul::Linear" => call.linear(N4),
            "matmul::MatMul" if wide => call.matmul(N16),
            "matmul::MatMul" => call.matmul(N4),
            "conv::Conv" => match kernel.generics.last().and_then(|g| g.strip_prefix("rt::kernels::conv::")) {
                Some("Stretch::<2, 1>") => call.conv(N16, Stretch::<2, 1>),
                Some("Stretch::<2, 2>") => call.conv(N16, Stretch::<2, 2>),
                Some("Stretch::<3, 1>") => call.conv(N16, Stretch::<3, 1>),
                Some("Stretch::<3, 2>") => call.conv(N16, Stretch::<3, 2>),
                Some("Stretch::<6, 3>") => call.conv(N16, Stretch::<6, 3>),
                Some("Stretch::<6, 6>") => call.conv(N16, Stretch::<6, 6>),
                Some("Stretch::<9, 3>") => call.conv(N16, Stretch::<9, 3>),
                Some("Stretch::<9, 6>") => call.conv(N16, Stretch::<9, 6>),
                // A kernel for each constant would take minutes to compile.
                _ if wide => call.conv(N16, AnyStretch),
                _ => call.conv(N4, AnyStretch),
            },
            "depthwise::Depthwise" => {
                match kernel.generics.last().and_then(|g| g.strip_prefix("rt::kernels::depthwise::")) {
                    Some("Square::<3, 1>") => call.depthwise(N16, Square::<3, 1>),
                    Some("Square::<3, 2>") => call.depthwise(N16, Square::<3, 2>),
                    Some("Square::<5, 1>") => call.depthwise(N16, Square::<5, 1>),
                    Some("Square::<5, 2>") => call.depthwise(N16, Square::<5, 2>),
                    Some("AnyWindow") if wide => call.depthwise(N16, AnyWindow),
                    Some("AnyWindow") => call.depthwise(N4, AnyWindow),
                    other => panic!("the machine has no window {other:?}"),
                }
            }
            other => panic!("the machine has no kernel {other}"),
        };
        let (start, _) = self.extent(&region);
        self.store(region.buffer, start, &bytes);
    }

    /// Regions that a kernel writes meet no other.
    fn apart(&self, kernel: &Kernel) {
        let regions = kernel.regions();
        let span = |region: &Region| {
            let ((start, len), base) = (self.extent(region), self.base(region.buffer)?);
            Some((base + start, base + start + len)).filter(|_| len > 0)
        };
        for (i, (a, writes)) in regions.iter().enumerate() {
            for (b, _) in regions.iter().enumerate().filter(|(j, _)| i != *j && *writes).map(|(_, region)| region) {
                let meet = span(a).zip(span(b)).is_some_and(|(a, b)| a.0 < b.1 && b.0 < a.1);
                assert!(!meet, "{} writes {a:?}, which meets {b:?}", kernel.path);
            }
        }
    }
}

/// Number of an element of a place in its buffer.
fn element(place: &Place, index: &[usize]) -> usize {
    let strides = place.strides.iter().zip(index).map(|(stride, i)| int(stride) * *i as i64);
    usize::try_from(int(&place.offset) + strides.sum::<i64>()).expect("an element before its buffer")
}

/// What a kernel writes, and where.
type Written = (Region, Vec<u8>);

/// At one level: the kernels' own tests compare them, and each costs its time to compile.
fn run_op<O: Op>(op: O) {
    op.call(Portable);
}

/// A kernel with the values of its fields.
struct Call<'a, 'm> {
    machine: &'a Machine<'m>,
    kernel: &'a Kernel,
}

impl Call<'_, '_> {
    fn field(&self, name: &str) -> &Field {
        let found = self.kernel.fields.iter().find(|(field, _)| *field == name);
        found.map_or_else(|| panic!("{} has no field `{name}`", self.kernel.path), |(_, field)| field)
    }

    fn size(&self, name: &str) -> usize {
        number(self.field(name))
    }

    fn sizes<const N: usize>(&self, name: &str) -> [usize; N] {
        let Field::Array(list) = self.field(name) else { panic!("`{name}` is no list") };
        let list: Vec<usize> = list.iter().map(number).collect();
        list.try_into().unwrap_or_else(|list| panic!("`{name}` has not {N} entries: {list:?}"))
    }

    fn bound(&self, name: &str) -> f32 {
        let Field::F32(bits) = self.field(name) else { panic!("`{name}` is no f32") };
        f32::from_bits(*bits)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.field(name), Field::Bool(true))
    }

    fn read(&self, name: &str) -> Vec<f32> {
        let Field::Read(region) = self.field(name) else { panic!("`{name}` is not read") };
        self.floats(region)
    }

    fn optional(&self, name: &str) -> Option<Vec<f32>> {
        let Field::Option(field) = self.field(name) else { panic!("`{name}` is not optional") };
        let Field::Read(region) = field.as_deref()? else { panic!("`{name}` is not read") };
        Some(self.floats(region))
    }

    /// Memory that holds nothing, for a field that may be missing.
    fn scratch(&self, field: &Field) -> Option<Vec<f32>> {
        match field {
            Field::Option(field) => self.scratch(field.as_deref()?),
            Field::Write { region, .. } => Some(vec![f32::NAN; self.machine.extent(region).1 / 4]),
            other => panic!("not written: {other:?}"),
        }
    }

    /// Elements of a region as far as someone wrote them, else NaN.
    fn floats(&self, region: &Region) -> Vec<f32> {
        let (start, len) = self.machine.extent(region);
        let Some(base) = self.machine.base(region.buffer) else {
            return values(&self.machine.region(region));
        };
        self.machine.within(region.buffer, start, len);
        let elements = self.machine.arena[base + start..base + start + len].chunks_exact(4);
        let element = |bytes: &[Option<u8>]| match *bytes {
            [Some(a), Some(b), Some(c), Some(d)] => f32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN,
        };
        elements.map(element).collect()
    }

    /// Where the result goes, and what stands there.
    fn result(&self) -> (Region, Vec<f32>) {
        let Field::Write { region, .. } = self.field("y") else { panic!("`y` is not written") };
        (region.clone(), self.floats(region))
    }

    fn reduce(&self, run: impl FnOnce(&[f32], &mut [f32], [usize; 3])) -> Written {
        let (x, (region, mut y)) = (self.read("x"), self.result());
        run(&x, &mut y, ["outer", "n", "inner"].map(|name| self.size(name)));
        (region, bytes(&y))
    }

    fn linear<P: Panel>(&self, panel: P) -> Written {
        let (x, weights, (region, mut y)) = (self.read("x"), self.read("weights"), self.result());
        let [bias, slope, residual] = ["bias", "slope", "residual"].map(|name| self.optional(name));
        run_op(matmul::Linear::<F32, P> {
            x: &x,
            weights: &weights,
            bias: bias.as_deref(),
            scale: None,
            zero_point: None,
            slope: slope.as_deref(),
            residual: residual.as_deref(),
            in_place: self.flag("in_place"),
            y: &mut y,
            rows: self.size("rows"),
            inner: self.size("inner"),
            columns: self.size("columns"),
            x_stride: self.size("x_stride"),
            y_stride: self.size("y_stride"),
            low: self.bound("low"),
            high: self.bound("high"),
            format: (),
            panel,
        });
        (region, bytes(&y))
    }

    fn matmul<P: Panel>(&self, panel: P) -> Written {
        let (a, b, (region, mut y)) = (self.read("a"), self.read("b"), self.result());
        let [bias, residual] = ["bias", "residual"].map(|name| self.optional(name));
        let mut scratch = self.scratch(self.field("scratch")).unwrap_or_default();
        run_op(matmul::MatMul::<F32, P> {
            a: &a,
            b: &b,
            bias: bias.as_deref(),
            residual: residual.as_deref(),
            in_place: self.flag("in_place"),
            y: &mut y,
            scratch: &mut scratch,
            batch: self.sizes("batch"),
            rows: self.size("rows"),
            inner: self.size("inner"),
            columns: self.size("columns"),
            a_strides: self.sizes("a_strides"),
            b_strides: self.sizes("b_strides"),
            y_strides: self.sizes("y_strides"),
            low: self.bound("low"),
            high: self.bound("high"),
            panel,
        });
        (region, bytes(&y))
    }

    fn conv<P: Panel, W: Stretches>(&self, panel: P, stretch: W) -> Written {
        let (x, weights, (region, mut y)) = (self.read("x"), self.read("weights"), self.result());
        let [bias, slope, residual] = ["bias", "slope", "residual"].map(|name| self.optional(name));
        let [mut scratch, mut padded] = ["scratch", "padded"].map(|name| self.scratch(self.field(name)));
        run_op(Conv::<F32, P, W> {
            x: &x,
            weights: &weights,
            bias: bias.as_deref(),
            scale: None,
            zero_point: None,
            slope: slope.as_deref(),
            residual: residual.as_deref(),
            in_place: self.flag("in_place"),
            y: &mut y,
            scratch: scratch.as_deref_mut(),
            padded: padded.as_deref_mut(),
            batch: self.size("batch"),
            groups: self.size("groups"),
            channels: self.size("channels"),
            columns: self.size("columns"),
            size: self.sizes("size"),
            out: self.sizes("out"),
            kernel: self.sizes("kernel"),
            stride: self.sizes("stride"),
            dilation: self.sizes("dilation"),
            padding: self.sizes("padding"),
            x_strides: self.sizes("x_strides"),
            y_strides: self.sizes("y_strides"),
            low: self.bound("low"),
            high: self.bound("high"),
            format: (),
            panel,
            stretch,
        });
        (region, bytes(&y))
    }

    fn depthwise<P: Panel, W: Window>(&self, panel: P, window: W) -> Written {
        let (x, weights, (region, mut y)) = (self.read("x"), self.read("weights"), self.result());
        let [bias, slope, residual] = ["bias", "slope", "residual"].map(|name| self.optional(name));
        run_op(Depthwise::<F32, P, W> {
            x: &x,
            weights: &weights,
            bias: bias.as_deref(),
            scale: None,
            zero_point: None,
            slope: slope.as_deref(),
            residual: residual.as_deref(),
            in_place: self.flag("in_place"),
            y: &mut y,
            batch: self.size("batch"),
            channels: self.size("channels"),
            size: self.sizes("size"),
            out: self.sizes("out"),
            kernel: self.sizes("kernel"),
            stride: self.sizes("stride"),
            dilation: self.sizes("dilation"),
            padding: self.sizes("padding"),
            x_strides: self.sizes("x_strides"),
            y_strides: self.sizes("y_strides"),
            low: self.bound("low"),
            high: self.bound("high"),
            format: (),
            panel,
            window,
        });
        (region, bytes(&y))
    }
}

fn number(field: &Field) -> usize {
    match field {
        Field::Usize(size) => usize::try_from(int(size)).expect("a size"),
        other => panic!("no size: {other:?}"),
    }
}

/// Numbers of little-endian bytes.
pub fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Little-endian bytes of numbers.
pub fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}
