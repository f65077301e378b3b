//! Tensors out of a `torch.save` file: a zip of a pickle and of raw storages.
//!
//! The pickle is read as data ([`super::pickle`]); this module holds the list of the names that mean something in it. All
//! others are refused by name, so that a tensor subclass or a Python object is an error, never a guess.

use super::members::Members;
use super::pickle::{Heap, Id, Node, run};
use super::{Identity, Ledger, Tensor};
use crate::diag::{Diagnostic, Errors};
use crate::schema::ScalarType;
use std::collections::{BTreeMap, HashMap};

/// Reads a dict of tensors. `what` names the file in messages.
///
/// # Errors
/// Everything that is no dict from text to plain tensors, all at once.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    what: &str,
    ledger: &mut Ledger,
) -> Result<BTreeMap<String, Tensor<'a>>, Errors> {
    let members = Members::read(bytes, what, &ledger.limits)?;
    let in_file = |mut d: Diagnostic| {
        d.message = format!("in member `{what}`: {}", d.message);
        d
    };
    let root = root_of_pickle(&members).map_err(in_file)?;
    let pickle = members.get_unchecked(&format!("{root}data.pkl"))?;
    let heap = run(pickle, &mut ledger.pickle_items).map_err(in_file)?;
    let big_endian = super::big_endian(&members, &root).map_err(in_file)?;
    let mut reader = Reader { heap: &heap, members: &members, root, big_endian, storages: HashMap::new(), ledger };
    let (mut tensors, mut errors) = (BTreeMap::new(), Errors::default());
    for &(key, value) in reader.items(heap.root()).map_err(in_file)? {
        let Node::Text(name) = *heap.node(key) else {
            errors.push(in_file(Diagnostic::damaged("a tensor's name is no text")));
            continue;
        };
        match reader.tensor(value) {
            Ok(tensor) => drop(tensors.insert(name.to_owned(), tensor)),
            Err(mut fault) => {
                fault.message = format!("tensor `{name}`: {}", fault.message);
                errors.push(fault);
            }
        }
    }
    errors.into_result(tensors)
}

/// `archive/` in files of torch; `torch.save` of other programs may use another folder.
fn root_of_pickle(members: &Members<'_>) -> Result<String, Diagnostic> {
    let mut roots = members.names().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = roots.find(|root| root.is_empty() || root.ends_with('/'));
    root.map(str::to_owned).ok_or_else(|| Diagnostic::damaged("no `data.pkl`, so this is no `torch.save` file"))
}

/// What a call on the list makes.
enum Rebuild {
    /// `(storage, offset, sizes, strides, requires_grad, hooks[, metadata])`.
    TensorV2,
    /// The same with the element type before the metadata.
    TensorV3,
    /// `(tensor, requires_grad, hooks[, state])`.
    Parameter,
    /// `(function, type, arguments, state)`: a tensor with Python attributes.
    FromType,
}

/// The list.
fn rebuild(module: &str, name: &str) -> Option<Rebuild> {
    match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2") => Some(Rebuild::TensorV2),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Rebuild::TensorV3),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Rebuild::Parameter),
        ("torch._tensor", "_rebuild_from_type_v2") => Some(Rebuild::FromType),
        _ => None,
    }
}

/// Classes whose instances are plain tensors.
fn is_plain_tensor_class(module: &str, name: &str) -> bool {
    matches!(
        (module, name),
        ("torch", "Tensor") | ("torch._tensor", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer")
    )
}

/// Element type of a storage class; `None` inside for an untyped storage, whose length is in bytes.
fn storage_class(module: &str, name: &str) -> Option<Option<ScalarType>> {
    if (module, name) == ("torch.storage", "UntypedStorage") {
        return Some(None);
    }
    let dtype = match name {
        "ByteStorage" => ScalarType::Byte,
        "CharStorage" => ScalarType::Char,
        "ShortStorage" => ScalarType::Short,
        "IntStorage" => ScalarType::Int,
        "LongStorage" => ScalarType::Long,
        "HalfStorage" => ScalarType::Half,
        "FloatStorage" => ScalarType::Float,
        "DoubleStorage" => ScalarType::Double,
        "ComplexFloatStorage" => ScalarType::ComplexFloat,
        "ComplexDoubleStorage" => ScalarType::ComplexDouble,
        "BoolStorage" => ScalarType::Bool,
        "BFloat16Storage" => ScalarType::BFloat16,
        _ => return None,
    };
    (module == "torch").then_some(Some(dtype))
}

struct Reader<'a, 'r> {
    heap: &'r Heap<'a>,
    members: &'r Members<'a>,
    root: String,
    big_endian: bool,
    /// Numbers of the storages seen, by key.
    storages: HashMap<&'a str, u32>,
    ledger: &'r mut Ledger,
}

/// A storage as the pickle names it.
struct Storage<'a> {
    number: u32,
    bytes: &'a [u8],
    dtype: Option<ScalarType>,
}

impl<'a, 'r> Reader<'a, 'r> {
    /// Items of a dict or `OrderedDict`.
    fn items(&self, id: Id) -> Result<&'r [(Id, Id)], Diagnostic> {
        match self.heap.node(id) {
            Node::Dict(items) => Ok(items),
            Node::Call { callee, items, .. } if self.is_ordered_dict(*callee) => Ok(items),
            other => Err(Diagnostic::damaged(format!("expected a dict of tensors, found {}", self.describe(other)))),
        }
    }

    fn is_ordered_dict(&self, callee: Id) -> bool {
        *self.heap.node(callee) == Node::Global("collections", "OrderedDict")
    }

    fn tensor(&mut self, id: Id) -> Result<Tensor<'a>, Diagnostic> {
        let Node::Call { callee, args, .. } = self.heap.node(id) else {
            return Err(self.unexpected("a tensor", id));
        };
        self.call(*callee, *args, 0)
    }

    /// `depth` bounds calls inside calls: a parameter with attributes nests three.
    fn call(&mut self, callee: Id, args: Id, depth: u8) -> Result<Tensor<'a>, Diagnostic> {
        let Node::Global(module, name) = *self.heap.node(callee) else {
            return Err(self.unexpected("the name of a function", callee));
        };
        let Some(kind) = rebuild(module, name).filter(|_| depth < 4) else {
            return Err(refused_name(module, name));
        };
        let args = self.tuple(args)?;
        match (kind, args) {
            (Rebuild::TensorV2, &[storage, offset, sizes, strides, _, _, ref metadata @ ..]) => {
                self.no_metadata(metadata)?;
                self.window(storage, None, offset, sizes, strides)
            }
            (Rebuild::TensorV3, &[storage, offset, sizes, strides, _, _, dtype, ref metadata @ ..]) => {
                self.no_metadata(metadata)?;
                let dtype = self.dtype(dtype)?;
                self.window(storage, Some(dtype), offset, sizes, strides)
            }
            (Rebuild::Parameter, &[data, ..]) => {
                let Node::Call { callee, args, .. } = self.heap.node(data) else {
                    return Err(self.unexpected("a tensor", data));
                };
                let mut tensor = self.call(*callee, *args, depth + 1)?;
                tensor.is_param = true;
                Ok(tensor)
            }
            (Rebuild::FromType, &[function, class, args, _]) => {
                let Node::Global(module, name) = *self.heap.node(class) else {
                    return Err(self.unexpected("a class", class));
                };
                if !is_plain_tensor_class(module, name) {
                    return Err(refused_name(module, name));
                }
                let mut tensor = self.call(function, args, depth + 1)?;
                tensor.is_param |= name == "Parameter";
                Ok(tensor)
            }
            _ => Err(Diagnostic::damaged(format!("`{module}.{name}` has {} arguments", args.len()))),
        }
    }

    fn window(
        &mut self,
        storage: Id,
        dtype: Option<ScalarType>,
        offset: Id,
        sizes: Id,
        strides: Id,
    ) -> Result<Tensor<'a>, Diagnostic> {
        let storage = self.storage(storage)?;
        let Some(dtype) = dtype.or(storage.dtype) else {
            return Err(Diagnostic::damaged("an untyped storage without an element type"));
        };
        let identity = Identity {
            storage: storage.number,
            dtype,
            offset: self.size(offset)?,
            shape: self.sizes(sizes)?,
            strides: self.sizes(strides)?,
        };
        let tensor = Tensor::new(identity, storage.bytes, self.big_endian, false)?;
        self.ledger.debit_tensor(&tensor)?;
        Ok(tensor)
    }

    /// `("storage", class, key, location, numel)`.
    fn storage(&mut self, id: Id) -> Result<Storage<'a>, Diagnostic> {
        let Node::Persistent(pid) = *self.heap.node(id) else {
            return Err(self.unexpected("a storage", id));
        };
        let &[tag, class, key, _, numel] = self.tuple(pid)? else {
            return Err(Diagnostic::damaged("a storage is not named by five values"));
        };
        if *self.heap.node(tag) != Node::Text("storage") {
            return Err(self.unexpected("the word `storage`", tag));
        }
        let (Node::Global(module, name), Node::Text(key)) = (self.heap.node(class), self.heap.node(key)) else {
            return Err(Diagnostic::damaged("a storage lacks its class or key"));
        };
        let dtype = storage_class(module, name).ok_or_else(|| refused_name(module, name))?;
        let len = self.size(numel)?.checked_mul(dtype.map_or(1, ScalarType::size));
        let bytes = self.members.get_unchecked(&format!("{}data/{key}", self.root))?;
        let bytes = len.and_then(|len| bytes.get(..len)).ok_or_else(|| {
            Diagnostic::damaged(format!("storage `{key}` has {} bytes, fewer than its pickle states", bytes.len()))
        })?;
        let number = match self.storages.get(key) {
            Some(number) => *number,
            None => {
                let number = self.ledger.new_storage(bytes.len());
                self.storages.insert(key, number);
                number
            }
        };
        Ok(Storage { number, bytes, dtype })
    }

    fn dtype(&self, id: Id) -> Result<ScalarType, Diagnostic> {
        match *self.heap.node(id) {
            Node::Global("torch", name) => {
                ScalarType::from_name(name).filter(|t| t.size() > 0).ok_or_else(|| refused_name("torch", name))
            }
            _ => Err(self.unexpected("an element type", id)),
        }
    }

    /// The only known entries are pending conjugation and negation.
    fn no_metadata(&self, metadata: &[Id]) -> Result<(), Diagnostic> {
        match metadata {
            [] => Ok(()),
            &[id] if matches!(self.heap.node(id), Node::None) || self.items(id)?.is_empty() => Ok(()),
            _ => Err(Diagnostic::unsupported("a tensor with a pending conjugation or negation")
                .help("call `.resolve_conj().resolve_neg()` on it before exporting")),
        }
    }

    fn tuple(&self, id: Id) -> Result<&'r [Id], Diagnostic> {
        match self.heap.node(id) {
            Node::Tuple(items) => Ok(items),
            _ => Err(self.unexpected("a tuple", id)),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, Diagnostic> {
        self.tuple(id)?.iter().map(|id| self.size(*id)).collect()
    }

    fn size(&self, id: Id) -> Result<usize, Diagnostic> {
        match *self.heap.node(id) {
            Node::Int(value) => {
                usize::try_from(value).map_err(|_| Diagnostic::damaged(format!("{value} is not a size")))
            }
            _ => Err(self.unexpected("a size", id)),
        }
    }

    fn unexpected(&self, expected: &str, id: Id) -> Diagnostic {
        let node = self.heap.node(id);
        let found = self.describe(node);
        if let Node::Call { callee, .. } = node
            && let Node::Global(module, name) = *self.heap.node(*callee)
            && rebuild(module, name).is_none()
        {
            return refused_name(module, name);
        }
        Diagnostic::damaged(format!("expected {expected}, found {found}"))
    }

    fn describe(&self, node: &Node<'a>) -> String {
        match *node {
            Node::None => "`None`".to_owned(),
            Node::Bool(value) => format!("`{value}`"),
            Node::Int(value) => format!("`{value}`"),
            Node::Float(value) => format!("`{value}`"),
            Node::Text(text) => format!("the text {text:.40?}"),
            Node::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Node::Global(module, name) => format!("`{module}.{name}`"),
            Node::Tuple(_) => "a tuple".to_owned(),
            Node::List(_) => "a list".to_owned(),
            Node::Dict(_) => "a dict".to_owned(),
            Node::Persistent(_) => "a storage".to_owned(),
            Node::Call { callee, .. } => match *self.heap.node(callee) {
                Node::Global(module, name) => format!("the result of `{module}.{name}`"),
                _ => "the result of a call".to_owned(),
            },
        }
    }
}

/// A name outside the list; nothing is imported or called to find out more.
fn refused_name(module: &str, name: &str) -> Diagnostic {
    Diagnostic::unsupported(format!("needs Python's `{module}.{name}`, but only plain tensors are read"))
        .help("replace tensor subclasses, quantized, sparse and custom objects by plain tensors before exporting")
}
