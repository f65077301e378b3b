"""Trains the two models of the examples on scikit-learn's handwritten digits and exports them.

    pip install torch safetensors scikit-learn
    python examples/digits/train.py

Writes, from a fixed seed:
  digits/digits.pt2                        a small CNN: image (1, 1, 8, 8) in 0..1 -> probabilities (1, 10)
  digits/digits.golden.safetensors         a few cases for `cargo exported verify`
  digits/held-out.bin                      the part of the data that training never saw, with PyTorch's answers
  build-script/models/gate.pt2 and golden  a smaller network: does an image show a digit at all? -> probability (1, 1)

held-out.bin, little endian: u32 number of samples n, u32 number that PyTorch classifies correctly, then
n x 64 bytes pixels (0..16, row by row; the model's input is pixel / 16), n bytes labels, n x 10 f32 PyTorch's outputs.
"""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "python"))

import numpy as np
import torch
from exported_golden import strip_paths, write_golden
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
HELD_OUT = 360
GATE = os.path.join(HERE, "..", "build-script", "models", "gate.pt2")


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(24 * 4 * 4, 10))

    def logits(self, image):
        return self.classifier(self.features(image).flatten(1))

    def forward(self, image):
        return self.logits(image).softmax(dim=1)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 24)
        self.out = nn.Linear(24, 1)

    def logits(self, image):
        return self.out(torch.tanh(self.hidden(image.flatten(1))))

    def forward(self, image):
        return torch.sigmoid(self.logits(image))


def main():
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    data = load_digits()
    split = train_test_split(data.images, data.target, test_size=HELD_OUT, random_state=SEED, stratify=data.target)
    train_pixels, test_pixels, train_labels, test_labels = split

    images = tensor(train_pixels)
    model = fit(Digits(), images, torch.tensor(train_labels), nn.functional.cross_entropy, epochs=60, shifts=True)
    path = os.path.join(HERE, "digits.pt2")
    run = export(model, path, tensor(test_pixels))
    write_held_out(run, test_pixels, test_labels)

    gate_images = torch.cat([images, shuffled(images)])
    gate_labels = torch.cat([torch.ones(len(images), 1), torch.zeros(len(images), 1)])
    gate = fit(Gate(), gate_images, gate_labels, nn.functional.binary_cross_entropy_with_logits, epochs=60)
    test = tensor(test_pixels)
    both = torch.stack([test, shuffled(test)], 1).flatten(0, 1)
    run = export(gate, GATE, both)
    answers = torch.cat([run(image[None]) for image in both])[:, 0] > 0.5
    expected = torch.arange(len(both)) % 2 == 0
    print(f"gate: {int((answers == expected).sum())} of {len(both)} held-out images told from noise")


def tensor(pixels):
    """uint8-like pixels 0..16 of shape (n, 8, 8) -> f32 in 0..1 of shape (n, 1, 8, 8); exact"""
    return torch.tensor(pixels, dtype=torch.float32)[:, None] / 16


def shuffled(images):
    """the same ink in random places: what the gate must learn to refuse"""
    order = torch.rand(len(images), 64).argsort(dim=1)
    return images.flatten(1).gather(1, order).view_as(images)


def fit(model, images, labels, loss, epochs, shifts=False):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs=epochs, steps_per_epoch=-(-len(images) // 64))
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            x = images[batch]
            if shifts:  # by up to one pixel
                x = torch.roll(x, shifts=tuple(torch.randint(-1, 2, (2,)).tolist()), dims=(2, 3))
            optimizer.zero_grad()
            loss(model.logits(x), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model, path, images):
    """saves the program and its golden cases; returns the saved program as a function"""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    example = images[:1].clone()  # the archive stores the whole storage of its example inputs
    program = torch.export.export(model, (example,))
    torch.export.save(strip_paths(program), path)
    write_golden(path, [((image[None],), {}) for image in images[:6]], rtol=1e-5, atol=1e-6, source="train.py")
    module = torch.export.load(path).module()

    def run(image):
        with torch.no_grad():
            return module(image)

    return run


def write_held_out(run, pixels, labels):
    outputs = torch.cat([run(image[None]) for image in tensor(pixels)])
    correct = int((outputs.argmax(dim=1) == torch.tensor(labels)).sum())
    with open(os.path.join(HERE, "held-out.bin"), "wb") as file:
        file.write(struct.pack("<II", len(labels), correct))
        file.write(pixels.astype(np.uint8).tobytes())
        file.write(labels.astype(np.uint8).tobytes())
        file.write(outputs.numpy().astype("<f4").tobytes())
    print(f"digits: {correct} of {len(labels)} held-out images classified correctly ({correct / len(labels):.2%})")


main()
