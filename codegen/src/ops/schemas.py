"""Turns a JSON table of torch's operator schemas into `schemas.txt`, one line per overload.

    python schemas.py aten-schemas.json > schemas.txt

Line: `target|argument,…|return,…|tag,…`; an argument is `name:type[:default][*]` (`*` = keyword only), types carry `!`
when the operator writes to them and `&` when a result may be a view of them. The default is JSON.
"""
import json, sys


def alias(entry):
    return {"write": "!", "view": "&"}.get(entry.get("alias"), "")


def argument(a):
    text = a["name"] + ":" + a["type"] + alias(a)
    if "default" in a:
        text += ":" + json.dumps(a["default"], separators=(",", ":"))
    return text + ("*" if a.get("kwarg_only") else "")


# Overloads that archives hold but torch's registry of functional schemas hides.
HIDDEN = {
    "aten.to.dtype_layout": {
        "args": [{"name": "self", "type": "Tensor", "alias": "view"}]
        + [{"name": n, "type": f"Optional[{t}]", "default": None, "kwarg_only": True}
           for n, t in [("dtype", "ScalarType"), ("layout", "Layout"), ("device", "Device"), ("pin_memory", "bool")]]
        + [{"name": n, "type": "bool", "default": False, "kwarg_only": True} for n in ("non_blocking", "copy")]
        + [{"name": "memory_format", "type": "Optional[MemoryFormat]", "default": None, "kwarg_only": True}],
        "returns": [{"type": "Tensor", "alias": "view"}],
        "tags": [],
    },
    "aten.outer.default": {
        "args": [{"name": "self", "type": "Tensor"}, {"name": "vec2", "type": "Tensor"}],
        "returns": [{"type": "Tensor"}],
        "tags": [],
    },
}

# Of the backward pass, which the registry leaves out.
for name, arguments, tags in [
    ("_softmax_backward_data", "grad_output:Tensor output:Tensor dim:int input_dtype:ScalarType", []),
    ("_log_softmax_backward_data", "grad_output:Tensor output:Tensor dim:int input_dtype:ScalarType", []),
    ("native_dropout_backward", "grad_output:Tensor mask:Tensor scale:float", ["pointwise"]),
    (
        "max_pool2d_with_indices_backward",
        "grad_output:Tensor self:Tensor kernel_size:List[int] stride:List[int] padding:List[int] dilation:List[int] "
        "ceil_mode:bool indices:Tensor",
        ["core"],
    ),
]:
    HIDDEN[f"aten.{name}.default"] = {
        "args": [dict(zip(("name", "type"), entry.split(":"))) for entry in arguments.split()],
        "returns": [{"type": "Tensor"}],
        "tags": tags,
    }

# torch.nn's own operators and torchao's, which that registry has only after their modules are imported.
IMPORTED = """\
torch_nn._linear_cross_entropy_batch_chunked.default|input:Tensor;linear_weight:Tensor;target:Tensor;linear_bias:Optional[Tensor];weight:Optional[Tensor];reduction:str;ignore_index:int;label_smoothing:float;batch_chunk_size:int;acc_policy:str;acc_dtype:ScalarType;allow_retain_graph:bool;compute_input_grad:bool;compute_linear_weight_grad:bool;compute_linear_bias_grad:bool|Tensor;Tensor;Tensor;Tensor|
torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default|input:Tensor;linear_weight:Tensor;target:Tensor;linear_bias:Optional[Tensor];weight:Optional[Tensor];ignore_index:int;batch_chunk_size:int;acc_policy:str;acc_dtype:ScalarType|Tensor|
torchao.choose_qparams_affine.default|input:Optional[Tensor];mapping_type:str;block_size:List[int];target_dtype:ScalarType;quant_min:Optional[number]:null;quant_max:Optional[number]:null;eps:Optional[float]:null;scale_dtype:Optional[ScalarType]:null;zero_point_dtype:Optional[ScalarType]:null;keepdim:bool:false|Tensor;Tensor|
torchao.dequantize_affine.default|input:Tensor;block_size:List[int];scale:Tensor;zero_point:Optional[Tensor];input_dtype:ScalarType;quant_min:Optional[number]:null;quant_max:Optional[number]:null;output_dtype:Optional[ScalarType]:null|Tensor|
torchao.quantize_affine.default|input:Tensor;block_size:List[int];scale:Tensor;zero_point:Optional[Tensor];output_dtype:ScalarType;quant_min:Optional[number]:null;quant_max:Optional[number]:null|Tensor|
"""

for target, schema in sorted((json.load(open(sys.argv[1])) | HIDDEN).items()):
    arguments = ";".join(argument(a) for a in schema["args"])
    returns = ";".join(r["type"] + alias(r) for r in schema["returns"])
    tags = ",".join(t for t in schema["tags"] if t in ("core", "inplace", "pointwise", "nondeterministic_seeded", "maybe_aliasing_or_mutating"))
    print("|".join((target, arguments, returns, tags)))
print(IMPORTED, end="")
