#!/usr/bin/env python3
"""The inputs and outputs of the published attention teacher, for `data: {kind: tensors}`.

cybertronai/caffeine (github.com) fixes its task by seeds of PyTorch's generator on the CPU: a teacher, one
torch.nn.MultiheadAttention of width 128 with one head whose parameters are uniform in -1 .. 1 (seed 1729, in the order
in which the module lists them), 8192 training and 2048 evaluation sequences of 64 normal vectors (seeds 271828 and
161803). Those numbers are drawn again here; the batches and the student's initial values are Monge's own.

    pip install torch numpy safetensors
    python3 tools/peers/attention_teacher.py build/teacher.safetensors

`--adamw` trains PyTorch's own layer with AdamW on the published batches and initial values as well (seeds 141421 and
314159), which ends at 58.3.
"""

import argparse

import torch
from safetensors.torch import save_file

WIDTH, LENGTH, TRAINING, VALIDATION, BATCH, STEPS = 128, 64, 8192, 2048, 512, 400


def layer():
    return torch.nn.MultiheadAttention(WIDTH, 1, batch_first=True)


def predict(module, x):
    return module(x, x, x, need_weights=False)[0]


def generator(seed):
    return torch.Generator(device="cpu").manual_seed(seed)


def make_teacher():
    teacher = layer()
    draws = generator(1729)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.uniform_(-1.0, 1.0, generator=draws)
    return teacher.eval()


def make_data(teacher, count, seed):
    inputs = torch.randn((count, LENGTH, WIDTH), generator=generator(seed))
    with torch.no_grad():
        outputs = torch.cat([predict(teacher, part) for part in inputs.split(256)])
    return inputs, outputs


def train_adamw(training, validation):
    torch.manual_seed(314159)
    student = layer()
    batches = torch.randint(0, TRAINING, (STEPS, BATCH), generator=generator(141421))
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0)

    def error():
        with torch.no_grad():
            parts = zip(validation[0].split(256), validation[1].split(256))
            return sum(torch.nn.functional.mse_loss(predict(student, x), y).item() * len(x) for x, y in parts) / VALIDATION

    for step, rows in enumerate(batches, 1):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(predict(student, training[0][rows]), training[1][rows]).backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}  evaluation error {error():.4f}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", help="safetensors file to write")
    arguments.add_argument("--adamw", action="store_true", help="train PyTorch's layer on it, too")
    options = arguments.parse_args()
    teacher = make_teacher()
    training, validation = make_data(teacher, TRAINING, 271828), make_data(teacher, VALIDATION, 161803)
    save_file({"train.inputs": training[0], "train.outputs": training[1], "validation.inputs": validation[0],
               "validation.outputs": validation[1]}, options.file)
    print(f"{options.file}: {TRAINING} training and {VALIDATION} validation sequences")
    if options.adamw:
        train_adamw(training, validation)


if __name__ == "__main__":
    main()
