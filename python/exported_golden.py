"""Golden files for `cargo exported verify`: inputs of your model and what PyTorch answers.

    import torch, exported_golden

    ep = torch.export.export(model, (example,))
    torch.export.save(exported_golden.strip_paths(ep), "model.pt2")
    exported_golden.write_golden("model.pt2", cases=[((frame,), {}) for frame in frames])

then `cargo exported verify model.pt2`. Needs only `torch` and `safetensors`.

The file `<name>.golden.safetensors` beside `<name>.pt2` holds the tensors `case.<k>.in.<i>`, `case.<k>.out.<i>` and
`reject.<r>.in.<i>`, and under the metadata key `manifest` a JSON text: `torch` (the version), `source`, `rtol`, `atol`,
`options`, `cases` (each with `inputs`, `outputs`, `stateful_continues` and, where the call changed an argument,
`input_mutations`, and of a quantized program without state `nodes`: names of the nodes that quantize, with their integers in
`case.<k>.node.<name>`), `reject` (each with `inputs`, `why`, `torch_raises`, `torch_error`). An entry of `inputs` or `outputs`
is one of `{"tensor": name}`, `{"int": n}`, `{"float": x}`, `{"bool": b}`, `{"str": s}`, `{"none": true}`.
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file
from torch.export._tree_utils import reorder_kwargs
from torch.utils import _pytree as pytree

# With scale and zero point as numbers: with those chosen at run time there are no integers of their own to compare.
_QUANTIZES = "quantized_decomposed.quantize_per_tensor.default"
_POSITIONS = ("stack_trace", "nn_module_stack", "custom", "torch_fn")


def write_golden(path, cases, *, rtol=1e-4, atol=1e-5, rejects=(), stateful=False, options=None, source=None, integer_atol=None):
    """Runs the program saved at `path` on each case and writes the golden file beside it.

    cases     list of `(args, kwargs)`: what you would call the exported program with
    rtol, atol  how far a floating-point output may be from PyTorch's: |ours - torch's| <= atol + rtol * |torch's|;
              integers and booleans must be equal, NaN must meet NaN
    rejects   list of `(args, kwargs, why)`: calls that must be refused
    stateful  the cases are consecutive calls of one instance (buffers keep their values), instead of one fresh
              instance for each
    options   how the archive is meant to be compiled, for instance `{"train_mode": True}`
    integer_atol  `atol` for a quantized program that is computed on integers instead of as PyTorch does, if that differs
    source    what the file came from, for a reader; default: the name of the running script

    Returns the path of the golden file. The same program, cases and torch give the same bytes.
    """
    path = os.fspath(path)
    if not path.endswith(".pt2"):
        raise ValueError(f"expected the path of a .pt2 file, found {path!r}")
    program = torch.export.load(path)
    tensors = {}
    instance = program.module()
    entries = []
    for number, (args, kwargs) in enumerate(cases):
        if not stateful:
            instance = torch.export.load(path).module()
        entry = _run_case(program, instance, number, args, kwargs, tensors)
        if not stateful:
            entry |= _run_nodes(torch.export.load(path).module(), number, args, kwargs, tensors)
        entries.append(entry | {"stateful_continues": bool(stateful and number > 0)})
    manifest = {
        "torch": torch.__version__.split("+")[0],
        "source": source or os.path.basename(sys.argv[0] or "interactive"),
        "rtol": rtol,
        "atol": atol,
        "cases": entries,
    }
    if integer_atol is not None:
        manifest["atol_integer_requantization"] = integer_atol
    refused = [_run_reject(program, path, number, *reject, tensors) for number, reject in enumerate(rejects)]
    if refused:
        manifest["reject"] = refused
    if options:
        manifest["options"] = options
    golden = path.removesuffix(".pt2") + ".golden.safetensors"
    save_file(tensors, golden, metadata={"manifest": json.dumps(manifest)})
    os.chmod(golden, 0o644)  # safetensors writes files that only their owner can read
    return golden


def strip_paths(program):
    """Removes the folders of this machine from the source positions that an ExportedProgram records.

    `torch.export.save` stores the stack trace of each operator; with it goes the path of your home. What remains are
    file names relative to the import path, and line numbers. Returns `program`.
    """
    prefixes = _import_prefixes()
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            for key in _POSITIONS:
                if node.meta.get(key) is not None:
                    node.meta[key] = _strip(node.meta[key], prefixes)
    return program


def _run_case(program, instance, number, args, kwargs, tensors):
    before = _flat_inputs(program, _cloned(args), _cloned(kwargs))
    args, kwargs = _cloned(args), _cloned(kwargs)
    with torch.no_grad():
        outputs = pytree.tree_leaves(instance(*args, **kwargs))
    entry = {
        "inputs": [_entry(leaf, f"case.{number}.in.{i}", tensors) for i, leaf in enumerate(before)],
        "outputs": [_entry(leaf, f"case.{number}.out.{i}", tensors) for i, leaf in enumerate(outputs)],
    }
    mutations = []
    for i, (old, new) in enumerate(zip(before, _flat_inputs(program, args, kwargs))):
        if isinstance(old, torch.Tensor) and not torch.equal(_comparable(old), _comparable(new)):
            mutations.append({"input": i} | _entry(new, f"case.{number}.mut.{i}", tensors))
    return entry | ({"input_mutations": mutations} if mutations else {})


class _Recorder(torch.fx.Interpreter):
    """Keeps what the nodes give that quantize."""

    def run_node(self, node):
        value = super().run_node(node)
        if str(node.target) == _QUANTIZES:
            self.integers = getattr(self, "integers", {}) | {node.name: value}
        return value


def _run_nodes(instance, number, args, kwargs, tensors):
    if not any(str(node.target) == _QUANTIZES for node in instance.graph.nodes):
        return {}
    recorder = _Recorder(instance)
    with torch.no_grad():
        recorder.run(*pytree.tree_leaves((_cloned(args), _cloned(kwargs))))
    for name, value in recorder.integers.items():
        _entry(value, f"case.{number}.node.{name}", tensors)
    return {"nodes": list(recorder.integers)}


def _run_reject(program, path, number, args, kwargs, why, tensors):
    try:
        leaves = _flat_inputs(program, args, kwargs)
    except Exception:  # a wrong structure has no order of its own
        leaves = pytree.tree_leaves((args, kwargs))
    inputs = [_entry(leaf, f"reject.{number}.in.{i}", tensors) for i, leaf in enumerate(leaves)]
    entry = {"inputs": inputs, "why": why, "torch_raises": False}
    try:
        with torch.no_grad():
            torch.export.load(path).module()(*_cloned(args), **_cloned(kwargs))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        message = _strip(f"{type(error).__name__}: {first}", _import_prefixes())
        entry |= {"torch_raises": True, "torch_error": message[:240]}
    return entry


def _flat_inputs(program, args, kwargs):
    """The leaves in the order of the program's user inputs: args, then kwargs as `in_spec` orders them."""
    if kwargs:
        kwargs = reorder_kwargs(kwargs, program.call_spec.in_spec)
    return pytree.tree_leaves((tuple(args), kwargs))


def _cloned(tree):
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, tree)


def _comparable(tensor):
    return tensor.nan_to_num() if tensor.is_floating_point() else tensor


def _entry(leaf, name, tensors):
    if isinstance(leaf, torch.Tensor):
        # A copy of its own, contiguous: safetensors refuses shared storage, and strides are no part of the contract.
        tensors[name] = leaf.detach().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if leaf is None:
        return {"none": True}
    for kind in (bool, int, float, str):  # bool first: it is an int
        if isinstance(leaf, kind):
            return {kind.__name__: leaf}
    raise TypeError(f"a golden file cannot hold a {type(leaf).__name__}")


def _import_prefixes():
    folders = [entry for entry in sys.path if os.path.isabs(entry)]
    folders += [os.path.dirname(os.path.dirname(torch.__file__)), os.path.dirname(os.__file__)]
    folders += [os.getcwd(), sys.prefix, sys.base_prefix]
    folders = {folder.rstrip("/") + "/" for folder in folders + [os.path.realpath(folder) for folder in folders]}
    return sorted(folders - {"/"}, key=len, reverse=True)


def _strip(value, prefixes):
    if isinstance(value, str):
        for prefix in prefixes:
            value = value.replace(prefix, "")
        return value
    if type(value) in (list, tuple):
        return type(value)(_strip(item, prefixes) for item in value)
    if isinstance(value, dict):
        return type(value)((_strip(key, prefixes), _strip(item, prefixes)) for key, item in value.items())
    return value
