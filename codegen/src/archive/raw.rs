//! Tensors out of the raw layout: a table of windows, and one member per storage.

use super::members::Members;
use super::{Identity, Ledger, Tensor};
use crate::diag::{Diagnostic, Errors};
use crate::schema::{Layout, Payload, SymInt, TensorMeta, parse_payloads};
use std::collections::{BTreeMap, HashMap};

/// Reads the table `folder` + `table` and the storages beside it.
///
/// # Errors
/// A malformed table, missing storages, windows outside their storage, pickled objects: all at once.
pub(super) fn read<'a>(
    members: &Members<'a>,
    folder: &str,
    table: &str,
    big_endian: bool,
    ledger: &mut Ledger,
) -> Result<BTreeMap<String, Tensor<'a>>, Errors> {
    let path = format!("{folder}{table}");
    let text = ledger.text(members, &path)?;
    let payloads = parse_payloads(text, &path)?;
    let (mut tensors, mut errors) = (BTreeMap::new(), Errors::default());
    let mut storages = HashMap::new();
    for (name, payload) in payloads {
        match tensor(members, folder, &payload, big_endian, &mut storages, ledger) {
            Ok(tensor) => drop(tensors.insert(name, tensor)),
            Err(mut fault) => {
                fault.message = format!("tensor `{name}`: {}", fault.message);
                errors.push(fault);
            }
        }
    }
    errors.into_result(tensors)
}

fn tensor<'a>(
    members: &Members<'a>,
    folder: &str,
    payload: &Payload,
    big_endian: bool,
    storages: &mut HashMap<String, (u32, &'a [u8])>,
    ledger: &mut Ledger,
) -> Result<Tensor<'a>, Diagnostic> {
    let (Some(meta), false) = (&payload.tensor_meta, payload.use_pickle) else {
        return Err(Diagnostic::unsupported(format!(
            "`{}` is a pickled Python object, no plain tensor",
            payload.path_name
        ))
        .help("replace tensor subclasses and custom objects by plain tensors before exporting"));
    };
    if meta.layout != Layout::Strided {
        return Err(Diagnostic::unsupported(format!("layout {:?}, but only strided tensors are read", meta.layout))
            .help("call `.to_dense()` on it before exporting"));
    }
    let (storage, bytes) = match storages.get(&payload.path_name) {
        Some(known) => *known,
        None => {
            let bytes = members.get(&format!("{folder}{}", payload.path_name))?;
            let new = (ledger.new_storage(bytes.len()), bytes);
            storages.insert(payload.path_name.clone(), new);
            new
        }
    };
    let tensor = Tensor::new(identity(storage, meta)?, bytes, big_endian, payload.is_param)?;
    ledger.debit_tensor(&tensor)?;
    Ok(tensor)
}

fn identity(storage: u32, meta: &TensorMeta) -> Result<Identity, Diagnostic> {
    Ok(Identity {
        storage,
        dtype: meta.dtype,
        offset: size(&meta.storage_offset)?,
        shape: meta.sizes.iter().map(size).collect::<Result<_, _>>()?,
        strides: meta.strides.iter().map(size).collect::<Result<_, _>>()?,
    })
}

/// Weights have the sizes they have.
fn size(value: &SymInt) -> Result<usize, Diagnostic> {
    match value {
        SymInt::Value(value) => {
            usize::try_from(*value).map_err(|_| Diagnostic::damaged(format!("{value} is not a size")))
        }
        SymInt::Expr(expr) => {
            Err(Diagnostic::damaged(format!("a stored tensor has the symbolic size `{}`", expr.expr_str)))
        }
    }
}
