//! Regions under `torch.autocast("cpu")`: some operators convert their operands as they run.
//!
//! Which ones is what torch registers for the CPU (`autocast_mode.cpp`). Operators that are made of such ones convert inside,
//! where only torch sees it: these are refused.

use super::call::{Arg, Call};
use crate::diag::Diagnostic;
use exported_runtime::DType;

/// Computed in the narrow dtype of the region.
const NARROW: [&str; 21] = [
    "_addmm_activation",
    "_convolution",
    "_native_multi_head_attention",
    "addbmm",
    "addmm",
    "baddbmm",
    "bmm",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "linalg_vecdot",
    "linear",
    "matmul",
    "mkldnn_rnn_layer",
    "mm",
    "prelu",
    "scaled_dot_product_attention",
];

/// Computed in f32; prefixes stand for whole families.
const WIDE: [&str; 44] = [
    "adaptive_avg_pool3d",
    "adaptive_max_pool3d",
    "avg_pool3d",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cdist",
    "cholesky_inverse",
    "cholesky_solve",
    "cosine_embedding_loss",
    "cross_entropy_loss",
    "ctc_loss",
    "fake_quantize_per_tensor_affine",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "grid_sampler",
    "grid_sampler_2d",
    "grid_sampler_3d",
    "hinge_embedding_loss",
    "huber_loss",
    "inverse",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "max_pool3d",
    "max_unpool2d",
    "max_unpool3d",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "nanquantile",
    "nll_loss",
    "nll_loss2d",
    "poisson_nll_loss",
    "prod",
    "quantile",
    "reflection_pad1d",
    "reflection_pad2d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
    "smooth_l1_loss",
    "soft_margin_loss",
    "trace",
    "triplet_margin_loss",
];

/// Computed in the widest dtype of their operands.
const WIDEST: [&str; 3] = ["cat", "index_copy", "stack"];

/// Made of operators that convert.
const COMPOSED: [&str; 18] = [
    "bilinear",
    "chain_matmul",
    "corrcoef",
    "cov",
    "einsum",
    "gru",
    "gru_cell",
    "linalg_matrix_power",
    "linalg_multi_dot",
    "linalg_pinv",
    "lstm",
    "lstm_cell",
    "matrix_power",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "tensordot",
];

/// Converts the operands of a call in a region whose narrow dtype this is.
pub(super) fn convert(call: &mut Call<'_>, narrow: DType) -> Result<(), Diagnostic> {
    let name = call.target().split('.').nth(1).unwrap_or_default();
    if COMPOSED.contains(&name) {
        return Err(call
            .unsupported(format!("`{name}` under `torch.autocast(\"cpu\")`, whose parts convert to {}", narrow.name()))
            .help("`ep.run_decompositions()` before saving makes the conversions nodes of the program"));
    }
    // Doubles stay what they are.
    let converted = |dtype: DType| matches!(dtype, DType::F32 | DType::F16 | DType::Bf16);
    let operands = call.arguments.values().flat_map(|argument| match argument {
        Arg::Tensor(v) => vec![*v],
        Arg::Tensors(list) => list.iter().flatten().copied().collect(),
        _ => Vec::new(),
    });
    let mut dtypes = operands.map(|v| call.dtype_of(v)).filter(|dtype| converted(*dtype));
    let to = match name {
        _ if NARROW.contains(&name) => narrow,
        _ if WIDE.contains(&name) || name.starts_with("fft_") || name.starts_with("linalg_") => DType::F32,
        _ if WIDEST.contains(&name) => {
            if dtypes.all(|dtype| dtype == narrow) {
                narrow
            } else {
                DType::F32
            }
        }
        _ => return Ok(()),
    };
    let names: Vec<String> = call.arguments.keys().cloned().collect();
    for name in names {
        let mut argument = call.arguments.remove(&name).unwrap_or(Arg::None);
        let values = match &mut argument {
            Arg::Tensor(v) => vec![v],
            Arg::Tensors(list) => list.iter_mut().flatten().collect(),
            _ => Vec::new(),
        };
        for value in values {
            if converted(call.dtype_of(*value)) {
                *value = call.cast(*value, to)?;
            }
        }
        call.arguments.insert(name, argument);
    }
    Ok(())
}
