"""Quantizes the digits network to int8 and exports it: the recipe of docs/quantize.md.

    pip install torch torchao safetensors scikit-learn
    python examples/digits/quantize.py

Takes digits.pt2 and the training images, and writes:
  digits/digits_int8.pt2                   the same network: image (1, 1, 8, 8) in 0..1 -> probabilities (1, 10)
  digits/digits_int8.golden.safetensors    cases for `cargo exported verify`, with the integers of every layer
  digits/int8.bin                          what PyTorch answers to each held-out image, quantized: one byte, the digit
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "python"))

import torch
from exported_golden import strip_paths, write_golden
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

CALIBRATION = 256
FLOAT, INT8 = (os.path.join(HERE, name) for name in ("digits.pt2", "digits_int8.pt2"))


def main():
    torch.set_num_threads(1)
    # The split of train.py: calibration sees training images only.
    data = load_digits()
    split = train_test_split(data.images, data.target, test_size=360, random_state=0, stratify=data.target)
    images, held_out = (torch.tensor(pixels, dtype=torch.float32)[:, None] / 16 for pixels in split[:2])
    labels = torch.tensor(split[3])

    # 1. An exported float model. It need not come from a file: torch.export.export(model, (example,)) is the same.
    program = torch.export.load(FLOAT)
    before = answers(program.module(), held_out)

    # 2. What is quantized, and how: int8, weights per output channel. This also folds batch normalization.
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantizer)

    # 3. Ranges of activations, from data like that of the device.
    with torch.no_grad():
        for image in images[:CALIBRATION]:
            prepared(image[None])

    # 4. The quantized program, exported again.
    quantized = torch.export.export(convert_pt2e(prepared), (images[:1].clone(),))
    torch.export.save(strip_paths(quantized), INT8)
    cases = [((image[None],), {}) for image in held_out[:6]]
    # Probabilities have 256 steps: on integers one may be a few steps off.
    write_golden(INT8, cases, rtol=1e-5, atol=1e-6, integer_atol=0.02, source="quantize.py")

    after = answers(torch.export.load(INT8).module(), held_out)
    with open(os.path.join(HERE, "int8.bin"), "wb") as file:
        file.write(bytes(after.tolist()))
    for name, digits in (("float", before), ("int8", after)):
        right = int((digits == labels).sum())
        print(f"{name}: {right} of {len(labels)} held-out images right ({right / len(labels):.2%})")


def answers(model, images):
    with torch.no_grad():
        return torch.cat([model(image[None]) for image in images]).argmax(dim=1)


main()
