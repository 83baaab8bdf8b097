#!/usr/bin/env python3
"""Measures Monge's optimizers against published packages and prints a table in Markdown.

    python3 tools/peers/optimizer_peers.py --monge ~/monge      # an installed Monge: cmake --install build --prefix ~/monge
    python3 tools/peers/optimizer_peers.py --only soap          # some of the rows
    python3 tools/peers/optimizer_peers.py --write              # replaces the table in docs/results/optimizers.md

Needs cmake, ninja, a C++ compiler, and

    pip install numpy pyyaml safetensors torch==2.15.0 timm==1.0.31 pytorch_optimizer==4.1.0 heavyball==3.2.1 \\
        schedulefree==1.4.1 torch-ema==0.3 curvlinops-for-pytorch==3.0.1

which are for this script alone: nothing of the build or of its tests needs them.

Both sides read the same 40 gradients of four matrices (square, tall, wide, and one whose gradients have rank 2) and a
vector, and follow the same schedule of rates. Monge walks through them twice, in double precision on the reference
device and in f32 on the processor (replay.cpp, built here); the peer in double precision. A difference is

    max over steps and parameters of |p_monge - p_peer| / |p_peer - p_0|

with Frobenius norms and p_0 the parameter before the first step, so that 1e-3 is a thousandth of the way. Below,
each case stands with the options that make the two say the same, and with bounds on the two differences; the script
ends with 1 when one is exceeded, or when a rule or transform has neither a case nor an entry in WITHOUT_PEER.
"""

import argparse
import importlib.metadata
import math
import re
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import yaml
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs/results/optimizers.md"
BEGIN, END = "<!-- begin: tools/peers/optimizer_peers.py -->", "<!-- end: tools/peers/optimizer_peers.py -->"

STEPS = 40
DECAY = 0.3  # of the matrices; large, so that a difference in it shows
SHAPES = {"square": (24, 24), "tall": (40, 12), "wide": (12, 40), "singular": (20, 16), "gain": (16,)}
MATRICES = [name for name, shape in SHAPES.items() if len(shape) == 2]
SETTINGS = {"lr": 0.01, "weight_decay": DECAY, "clip_norm": 0, "schedule": {"kind": "cosine", "warmup": 5}}


# --- what both sides read ---


class Data:
    """Initial parameters, gradients, and for curvature what passed a layer whose outputs are logits. float32 holds each
    value that Monge reads in it."""

    ROWS = 32

    def __init__(self):
        source = np.random.RandomState(1)  # frozen: the same numbers everywhere

        def normal(*shape):
            return source.standard_normal(shape).astype(np.float32).astype(np.float64)

        self.start, self.gradients, self.inputs, self.outputs, self.batches = {}, {}, {}, {}, {}
        for name, shape in SHAPES.items():
            self.start[name] = 0.125 * normal(*shape)
            # Noise around a slow drift, larger in some columns than in others, of a size that changes from step to step.
            drift = normal(*shape)
            spread = np.geomspace(0.125, 1.0, shape[-1])
            gradients = []
            for t in range(1, STEPS + 1):
                noise = normal(20, 2) @ normal(2, 16) if name == "singular" else drift + normal(*shape)
                gradients.append(0.125 * math.exp(math.sin(t + 3)) * noise * spread)
            self.gradients[name] = np.stack(gradients).astype(np.float32).astype(np.float64)
        for name in MATRICES:
            rows, cols = SHAPES[name]
            batches = [(normal(self.ROWS, cols), 0.5 * normal(rows, cols), source.randint(rows, size=self.ROWS))
                       for _ in range((STEPS + 1) // 2)]
            # Two steps in a row see the same batch, as the comparison of ekfac needs.
            self.batches[name] = [batches[t // 2] for t in range(STEPS)]
            self.inputs[name] = np.stack([x for x, _, _ in self.batches[name]])
            self.outputs[name] = np.stack([self.logit_gradients(*batch) for batch in self.batches[name]])

    def logit_gradients(self, x, w, y):
        """Of the mean cross entropy of x w^T with the targets y."""
        logits = torch.from_numpy(x @ w.T).requires_grad_()
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)).backward()
        return logits.grad.numpy()

    def save(self, file):
        tensors = {}
        for prefix, values in [("param", self.start), ("grad", self.gradients), ("input", self.inputs),
                               ("output", self.outputs)]:
            tensors.update({f"{prefix}/{name}": np.ascontiguousarray(value) for name, value in values.items()})
        save_file(tensors, file)


# --- the cases ---


@dataclass
class Case:
    rule: str  # as `monge info` lists it
    options: dict  # under `optimizer:`, over SETTINGS
    package: str
    what: str  # the peer, and how it is set where that is no matter of course
    peer: Callable  # (parameters by name, Data) -> optimizers
    bound: float  # on the difference in double precision
    bound_f32: float
    why: str  # what the difference comes from
    names: list  # of the parameters that are compared


CASES = []
DOUBLE = "rounding"


def case(rule, options, package, what, bound=1e-12, bound_f32=1e-4, why=DOUBLE, names=tuple(SHAPES)):
    settings = {**SETTINGS, **yaml.safe_load("{" + options + "}")}

    def add(peer):
        CASES.append(Case(rule, settings, package, what, peer, bound, bound_f32, why, list(names)))
        return peer

    return add


def groups(p, decay=DECAY):
    """All parameters, of which vectors do not decay, as is Monge's default."""
    return [{"params": [v for v in p.values() if v.ndim == 2], "weight_decay": decay},
            {"params": [v for v in p.values() if v.ndim == 1], "weight_decay": 0.0}]


def matrices(p):
    return [v for v in p.values() if v.ndim == 2]


BASE = "base: {lr: 0.02, betas: [0.9, 0.99]}"  # at twice the rate of the matrices


def base(p):
    """What Monge's matrix rules do to vectors."""
    optimizer = torch.optim.AdamW([v for v in p.values() if v.ndim == 1], betas=(0.9, 0.99), weight_decay=0.0)
    optimizer.param_groups[0]["times"] = 2.0
    return optimizer


class Instead:
    """A module in the place of `torch` inside a package, with another type under a name: the package's casts to a short
    float become casts to double."""

    def __init__(self, short):
        self.short = short

    def __getattr__(self, name):
        return torch.float64 if name == self.short else getattr(torch, name)


class Patched:
    """An optimizer whose module sees another value of a name while it steps."""

    def __init__(self, optimizer, module, name, value):
        self.optimizer, self.module, self.name, self.value = optimizer, module, name, value
        self.param_groups = optimizer.param_groups

    def step(self):
        before = getattr(self.module, self.name)
        setattr(self.module, self.name, self.value)
        try:
            self.optimizer.step()
        finally:
            setattr(self.module, self.name, before)


# PyTorch's SGD adds its decay to the gradient, so it gets none, and the parameters decay before its step.
class DecayedSgd:
    def __init__(self, p, **options):
        self.optimizer = torch.optim.SGD(groups(p, 0.0), lr=1.0, **options)
        self.param_groups, self.decayed = self.optimizer.param_groups, matrices(p)

    def step(self):
        with torch.no_grad():
            for v in self.decayed:
                v.mul_(1.0 - self.param_groups[0]["lr"] * DECAY)
        self.optimizer.step()


@case("sgd", "name: sgd, momentum: 0.9", "torch", "`SGD`, decay applied beside it")
def _(p, data):
    return [DecayedSgd(p, momentum=0.9)]


@case("sgd", "name: sgd, momentum: 0.9, nesterov: true", "torch", "`SGD(nesterov)`, decay applied beside it")
def _(p, data):
    return [DecayedSgd(p, momentum=0.9, nesterov=True)]


@case("sgd", "name: sgd, momentum: 0", "torch", "`SGD` without momentum, decay applied beside it")
def _(p, data):
    return [DecayedSgd(p)]


@case("signum", "name: signum, momentum: 0.95", "pytorch_optimizer", "`SignSGD(weight_decouple)`")
def _(p, data):
    from pytorch_optimizer import SignSGD
    return [SignSGD(groups(p), momentum=0.95, weight_decouple=True)]


@case("lion", "name: lion, betas: [0.9, 0.99]", "timm", "`Lion`")
def _(p, data):
    from timm.optim import Lion
    return [Lion(groups(p), betas=(0.9, 0.99))]


@case("adamw", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-3", "torch", "`AdamW`")
def _(p, data):
    return [torch.optim.AdamW(groups(p), betas=(0.9, 0.99), eps=1e-3)]


class Clipped:
    def __init__(self, p):
        self.p, self.optimizer = p, torch.optim.AdamW(groups(p), betas=(0.9, 0.99), eps=1e-3)
        self.param_groups = self.optimizer.param_groups

    def step(self):
        torch.nn.utils.clip_grad_norm_(self.p.values(), 1.0)
        self.optimizer.step()


@case("adamw", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-3, clip_norm: 1", "torch",
      "`AdamW` after `clip_grad_norm_(1)`", bound=1e-5, why="PyTorch adds 1e-6 to the norm")
def _(p, data):
    return [Clipped(p)]


# So large a momentum_decay leaves PyTorch's momentum constant.
@case("nadamw", "name: nadamw, betas: [0.9, 0.99], eps: 1.0e-3", "torch",
      "`NAdam(decoupled_weight_decay)` with constant momentum")
def _(p, data):
    return [torch.optim.NAdam(groups(p), betas=(0.9, 0.99), eps=1e-3, momentum_decay=1e9, decoupled_weight_decay=True)]


@case("ademamix", "name: ademamix, betas: [0.9, 0.99, 0.999], alpha: 5, ramp: 30, eps: 1.0e-3", "pytorch_optimizer",
      "`AdEMAMix(t_alpha_beta3=30, weight_decouple)`")
def _(p, data):
    from pytorch_optimizer import AdEMAMix
    return [AdEMAMix(groups(p), betas=(0.9, 0.99, 0.999), alpha=5.0, t_alpha_beta3=30, eps=1e-3, weight_decouple=True)]


@case("adafactor", "name: adafactor, momentum: 0, relative: true", "torch", "`Adafactor`")
def _(p, data):
    return [torch.optim.Adafactor(groups(p))]


# beta2_cap: the decay of the second moments has no largest value here.
@case("adafactor", "name: adafactor, momentum: 0", "timm", "`AdafactorBigVision(momentum=None)`")
def _(p, data):
    from timm.optim import AdafactorBigVision
    return [AdafactorBigVision(groups(p), min_dim_size_to_factor=1, beta2_cap=1.0, momentum=None,
                               clipping_threshold=1.0)]


# 0.999 is a largest decay, which 40 steps do not reach. Both average steps, as published; timm's and big_vision's averages directions, which is the same under a constant rate.
@case("adafactor", "name: adafactor, momentum: 0.9", "pytorch_optimizer",
      "`AdaFactor(betas=(0.9, 0.999), scale_parameter=False, relative_step=False)`")
def _(p, data):
    from pytorch_optimizer import AdaFactor
    return [AdaFactor(groups(p), betas=(0.9, 0.999), scale_parameter=False, relative_step=False,
                      momentum_dtype=torch.float64)]


# No clipping of gradients, no cap on norms; what does not decay is not scaled.
@case("lamb", "name: lamb, betas: [0.9, 0.99], eps: 1.0e-3, cap: 0", "timm", "`Lamb(max_grad_norm=None)`")
def _(p, data):
    from timm.optim import Lamb
    return [Lamb(groups(p), betas=(0.9, 0.99), eps=1e-3, max_grad_norm=None)]


class ScheduleFree:
    """Its parameters are those in training between steps, and what evaluation sees after evaluate()."""

    def __init__(self, p):
        from schedulefree import AdamWScheduleFree
        self.optimizer = AdamWScheduleFree(groups(p), betas=(0.9, 0.99), eps=1e-3)
        self.param_groups = self.optimizer.param_groups
        self.optimizer.train()
        self.step = self.optimizer.step

    def evaluate(self, p):
        self.optimizer.eval()
        out = {name: v.detach().clone() for name, v in p.items()}
        self.optimizer.train()
        return out


@case("schedule_free", "name: schedule_free, betas: [0.9, 0.99], eps: 1.0e-3", "schedulefree",
      "`AdamWScheduleFree`: parameters in training and in evaluation")
def _(p, data):
    return [ScheduleFree(p)]


# Rounding in bf16 is no small part of a matrix of rank 2 once its singular values are made equal.
@case("muon", f"name: muon, scale: rms, {BASE}", "torch", "`Muon(adjust_lr_fn=\"match_rms_adamw\")`", bound=0.05,
      bound_f32=0.05, why="PyTorch's products are in bf16; not of gradients of rank 2",
      names=["square", "tall", "wide", "gain"])
def _(p, data):
    return [torch.optim.Muon(matrices(p), weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"), base(p)]


def muon(scale):
    def peer(p, data):
        import torch.optim._muon as module
        optimizer = torch.optim.Muon(matrices(p), weight_decay=DECAY, adjust_lr_fn=scale)
        return [Patched(optimizer, module, "torch", Instead("bfloat16")), base(p)]

    return peer


for ours, theirs in [("rms", "match_rms_adamw"), ("keller", "original"), ("spectral", "spectral_unclamped")]:
    case("muon", f"name: muon, scale: {ours}, {BASE}", "torch", f"`Muon(adjust_lr_fn=\"{theirs}\")`, its bf16 made f64",
         bound=1e-10, bound_f32=1e-2)(muon(theirs))


@case("normuon", f"name: normuon, scale: keller, row_decay: 0.95, {BASE}", "pytorch_optimizer",
      "`NorMuon`, its bf16 made f64", bound=1e-8, bound_f32=1e-2, why="its eps of 1e-10 in two divisions")
def _(p, data):
    import functools
    from pytorch_optimizer.optimizer.muon import normuon as module
    optimizer = module.NorMuon([{"params": matrices(p), "use_muon": True, "weight_decay": DECAY}], foreach=False)
    in_double = functools.partial(module.zero_power_via_newton_schulz_5, dtype=torch.float64)
    return [Patched(optimizer, module, "zero_power_via_newton_schulz_5", in_double), base(p)]


# The averaged gradient is preconditioned here, the preconditioned gradient averaged there: no momentum. No graft on
# either side, roots in every step. Where L or R is singular, the two differ by their eps; the square matrix has none.
@case("shampoo", f"name: shampoo, betas: [0, 0.95], eps: 0, graft: false, every: 1, {BASE}", "pytorch_optimizer",
      "`ScalableShampoo(use_svd)`, no momentum or graft; square matrix", bound=1e-9, bound_f32=2e-2,
      why="rounding; in f32 the least eps, 1e-6", names=["square", "gain"])
def _(p, data):
    from pytorch_optimizer import ScalableShampoo
    return [ScalableShampoo([p["square"]], betas=(0.0, 0.95), moving_average_for_momentum=True, weight_decay=DECAY,
                            decoupled_weight_decay=True, start_preconditioning_step=1, preconditioning_compute_steps=1,
                            shape_interpretation=False, graft_type=0, nesterov=False, matrix_eps=1e-30, use_svd=True),
            base(p)]


# The peer decays after its step, hence no decay. Its eps is not freed of bias, hence almost none. A side of 40 has no
# basis (max_dim), since its first covariance is singular, and bases of singular matrices are not unique.
@case("soap", f"name: soap, betas: [0.9, 0.95], factor_decay: 0.95, eps: 1.0e-30, max_dim: 24, every: 10, "
      f"weight_decay: 0, {BASE}", "pytorch_optimizer", "`SOAP(max_precondition_dim=24)`, its f32 QR made f64",
      bound=1e-8, bound_f32=2e-2, names=["square", "tall", "wide", "gain"],
      why="rounding; not of gradients of rank 2, of which each basis is one of many")
def _(p, data):
    from pytorch_optimizer.optimizer import soap as module
    optimizer = module.SOAP([p[name] for name in ("square", "tall", "wide")], betas=(0.9, 0.95), shampoo_beta=0.95,
                            weight_decay=0.0, precondition_frequency=10, max_precondition_dim=24, eps=1e-30)
    return [Patched(optimizer, module, "torch", Instead("float32")), base(p)]


def kron(p, rate, data):
    """From factors with which the first step has elements of RMS 1, as Monge's, fitted at `rate` in every step."""
    from pytorch_optimizer import Kron
    torch.manual_seed(1)
    scaled = [{"params": [p[name]], "precondition_lr": rate,
               "precondition_init_scale": np.sqrt(data.gradients[name][0] ** 2).size ** 0.25
               / np.linalg.norm(data.gradients[name][0]) ** 0.5} for name in MATRICES]
    return [Kron(scaled, momentum=0.9, weight_decay=DECAY, pre_conditioner_update_probability=1.0, balance_prob=0.0,
                 precondition_dtype=torch.float64), base(p)]


@case("psgd_kron", f"name: psgd_kron, momentum: 0.9, fit_rate: 0, {BASE}", "pytorch_optimizer",
      "`Kron` without its fits, from Monge's first factors", bound=1e-5, bound_f32=1e-4,
      why="its eps of 1e-6 in the limit on the RMS of a step")
def _(p, data):
    return kron(p, 0.0, data)


@case("psgd_kron", f"name: psgd_kron, momentum: 0.9, {BASE}", "pytorch_optimizer",
      "`Kron`, from Monge's first factors", bound=1.0, bound_f32=1.0,
      why="another form of the fits (triangular factors), and noise drawn where Monge takes its expectation; the fits "
          "against their formula: `tests/optim/psgd_kron_test.cpp`")
def _(p, data):
    return kron(p, 0.1, data)


# rho is theirs for p, and scales the rate and the decay.
class Sophia:
    RHO = 0.04

    def __init__(self, p, data):
        from pytorch_optimizer import SophiaH
        self.optimizer = SophiaH(groups(p, DECAY * self.RHO), betas=(0.965, 0.99), p=self.RHO, update_period=10**6)
        self.param_groups = self.optimizer.param_groups
        for group in self.param_groups:
            group["times"] = 1.0 / self.RHO
        self.data, self.count = data, 0
        self.order = [*MATRICES, "gain"]

    def curvature(self, name):
        """B s^2 with s the gradient of the mean loss over the B rows."""
        if name == "gain":
            return torch.zeros(SHAPES[name], dtype=torch.float64)
        s = self.data.outputs[name][self.count].T @ self.data.inputs[name][self.count]
        return torch.from_numpy(Data.ROWS * s**2)

    def step(self):
        measured = self.count % 10 == 0
        self.optimizer.step(hessian=[self.curvature(name) for name in self.order] if measured else None)
        self.count += 1


@case("sophia", "name: sophia, betas: [0.965, 0.99], rho: 0.04, every: 10", "pytorch_optimizer",
      "`SophiaH` with the Gauss-Newton estimates as its `hessian`", bound=1e-11)
def _(p, data):
    return [Sophia(p, data)]


class Natural:
    """p -= lr (C + damping mean(C))^-1 M for each matrix, with M the averaged gradient and C the curvature that
    curvlinops finds for a linear layer with logits as outputs, whose factors are averaged here."""

    def __init__(self, p, data, decay=0.0, fisher="empirical"):
        self.p, self.data, self.decay, self.fisher, self.count = p, data, decay, fisher, 0
        self.m = {name: torch.zeros_like(p[name]) for name in MATRICES}
        self.averages = {}
        self.param_groups = [{"lr": 0.0, "params": matrices(p)}]

    def curvature(self, name, corrected=False):
        import curvlinops
        x, w, y = (torch.from_numpy(value) for value in self.data.batches[name][self.count])
        layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=torch.float64)
        layer.weight.data.copy_(w)
        operator = curvlinops.EKFACLinearOperator if corrected else curvlinops.KFACLinearOperator
        return operator(layer, torch.nn.CrossEntropyLoss(), [layer.weight], [(x, y)], fisher_type=self.fisher,
                        check_deterministic=False)

    def averaged(self, name):
        curvature = self.curvature(name)
        curvature.compute_kronecker_factors()
        for side, factors in enumerate([curvature._input_covariances, curvature._gradient_covariances]):
            for module, factor in factors.items():
                average = self.averages.setdefault((name, side), torch.zeros_like(factor))
                average.lerp_(factor, 1.0 - self.decay)
                factors[module] = average / (1.0 - self.decay ** (self.count + 1))
        return curvature

    def step(self):
        import curvlinops
        lr = self.param_groups[0]["lr"]
        for name in MATRICES:
            p, m = self.p[name], self.m[name]
            m.lerp_(p.grad, 0.1)
            curvature = self.averaged(name)
            mean = float(curvature.trace) / m.numel()
            inverse = curvlinops.KFACInverseLinearOperator(curvature, damping=0.1 * mean, use_exact_damping=True)
            [u] = inverse @ [m]
            with torch.no_grad():
                p.mul_(1.0 - lr * DECAY).add_(u, alpha=-lr)
        self.count += 1


class CorrectedNatural(Natural):
    """EK-FAC measures in every other step here, along eigenvectors of the step before, which had the same batch, so that
    they are those of curvlinops. The steps between, and the first two, are K-FAC's."""

    def averaged(self, name):
        return self.curvature(name, corrected=self.count > 1 and self.count % 2 == 1)


NATURAL = f"damping: 0.1, betas: [0.9, 0.95], every: 1, graft: false, {BASE}"


@case("kfac", f"name: kfac, refresh: 1, decay: 0.9, {NATURAL}", "curvlinops-for-pytorch",
      "`KFACLinearOperator`, its factors averaged, exact damping", bound=1e-10)
def _(p, data):
    return [Natural(p, data, decay=0.9), base(p)]


@case("kfac", f"name: kfac, factors: input, refresh: 1, decay: 0.9, {NATURAL}", "curvlinops-for-pytorch",
      "`KFACLinearOperator(fisher_type=\"forward-only\")`, the same with `factors: input`", bound=1e-10)
def _(p, data):
    return [Natural(p, data, decay=0.9, fisher="forward-only"), base(p)]


@case("ekfac", f"name: ekfac, refresh: 2, decay: 0, {NATURAL}", "curvlinops-for-pytorch",
      "`EKFACLinearOperator`, exact damping", bound=1e-10)
def _(p, data):
    return [CorrectedNatural(p, data), base(p)]


# The first step has no previous gradient: timm, as Monge, takes the gradient itself.
def mars(caution):
    def peer(p, data):
        from timm.optim import Mars
        return [Mars(groups(p), betas=(0.95, 0.99), eps=1e-3, gamma=0.025, optimize_1d=True, caution=caution)]

    return peer


MARS = "name: adamw, betas: [0.95, 0.99], eps: 1.0e-3, chain: [{kind: mars, gamma: 0.025, beta: 0.95}"
case("mars", MARS + "]", "timm", "`Mars(optimize_1d)`, with `adamw`")(mars(False))
case("cautious", MARS + ", {kind: cautious}]", "timm", "`Mars(optimize_1d, caution)`, with `mars` and `adamw`")(mars(True))


@case("cautious", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-3, chain: [{kind: cautious}]", "timm",
      "`AdamWLegacy(caution)`, with `adamw`")
def _(p, data):
    from timm.optim import AdamWLegacy
    return [AdamWLegacy(groups(p), betas=(0.9, 0.99), eps=1e-3, caution=True)]


def heavyball():
    """Without torch.compile. Its eps is a lower bound on the divisor, hence almost none on either side."""
    import heavyball as package
    package.utils.compile_mode = None
    package.utils.compile_mode_recommended_to_none = None
    warnings.filterwarnings("ignore", "Learning rate changed", UserWarning)
    return package


@case("cautious_decay", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-30, chain: [{kind: cautious_decay}]", "heavyball",
      "`AdamW(cautious_weight_decay)`, with `adamw`")
def _(p, data):
    return [heavyball().AdamW(groups(p), betas=(0.9, 0.99), eps=1e-30, cautious_weight_decay=True,
                              storage_dtype="float64")]


# Its directions are those of AdamW without a first moment.
@case("hyperball", "name: adamw, betas: [0, 0.99], eps: 1.0e-30, chain: [{kind: hyperball}]", "heavyball",
      "`HyperBallAdamW`, with `adamw` without momentum")
def _(p, data):
    return [heavyball().HyperBallAdamW(groups(p, 0.0), betas=(0.0, 0.99), eps=1e-30, storage_dtype="float64")]


class Averaged:
    def __init__(self, p):
        from torch_ema import ExponentialMovingAverage
        self.optimizer = torch.optim.AdamW(groups(p), betas=(0.9, 0.99), eps=1e-3)
        self.param_groups = self.optimizer.param_groups
        self.average = ExponentialMovingAverage(p.values(), decay=0.7)

    def step(self):
        self.optimizer.step()
        self.average.update()

    def evaluate(self, p):
        return dict(zip(p, (v.clone() for v in self.average.shadow_params)))


@case("ema", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-3, chain: [{kind: ema, decay: 0.7}]", "torch-ema",
      "`ExponentialMovingAverage`, with `adamw`: in training and in evaluation")
def _(p, data):
    return [Averaged(p)]


# Rules and transforms without a published package to compare with, and what checks them instead.
WITHOUT_PEER = {}


# --- the two walks ---


def walk(case, data, rates):
    """The peer's parameters after each step, as in replay's files."""
    p = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in data.start.items()}
    optimizers = case.peer(p, data)
    trained, evaluated = [], []
    for t, rate in enumerate(rates):
        for name, v in p.items():
            v.grad = torch.from_numpy(data.gradients[name][t].copy())
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = float(rate) * group.get("times", 1.0)
            optimizer.step()
        trained.append({name: v.detach().clone() for name, v in p.items()})
        averages = [o for o in optimizers if hasattr(o, "evaluate")]
        evaluated.append(averages[0].evaluate(p) if averages else trained[-1])
    out = {}
    for kind, path in [("trained", trained), ("evaluated", evaluated)]:
        out.update({f"{kind}/{name}": np.stack([at[name].numpy() for at in path]) for name in p})
    return out


def difference(ours, theirs, case, data):
    worst = 0.0
    for kind in ("trained", "evaluated"):
        for name in case.names:
            key = f"{kind}/{name}"
            for a, b in zip(ours[key], theirs[key]):
                apart, way = np.linalg.norm(a - b), np.linalg.norm(b - data.start[name])
                worst = max(worst, apart / way if way > 0.0 else (0.0 if apart == 0.0 else math.inf))
    return worst if math.isfinite(worst) else math.inf


def build(prefix, folder):
    subprocess.run(["cmake", "-G", "Ninja", "-S", HERE, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "replay"


def replay(program, folder, case, device):
    out = folder / "out.safetensors"
    subprocess.run([program, folder / "data.safetensors", out, device, yaml.safe_dump(case.options)], check=True)
    return load_file(out)


def number(x):
    return f"{x:.0e}".replace("e-0", "e-").replace("e+00", "")


def measure(case, program, folder, data):
    """A line of the table, and what is wrong with it."""
    exact = replay(program, folder, case, "reference")
    theirs = walk(case, data, exact["lr"])
    double = difference(exact, theirs, case, data)
    single = difference(replay(program, folder, case, "cpu"), theirs, case, data)
    label = f"{case.package} {importlib.metadata.version(case.package)}"
    line = f"| `{case.rule}` | {label}: {case.what} | {number(double)} | {number(single)} | {case.why} |"
    faults = [f"{case.rule} ({label}, {case.what}): {what} differs by {number(x)}, more than {number(bound)}"
              for what, x, bound in [("double", double, case.bound), ("f32", single, case.bound_f32)] if not x <= bound]
    return line, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--monge", type=Path, default=Path.home() / "monge", help="where Monge is installed")
    parser.add_argument("--build", type=Path, default=ROOT / "build_peers", help="folder for the build of replay")
    parser.add_argument("--only", metavar="RULE", help="the rows of one rule or transform")
    parser.add_argument("--write", action="store_true", help=f"replace the table in {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write needs all rows: leave out --only")

    program = build(arguments.monge, arguments.build)
    names = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    covered = {c.rule for c in CASES} | set(WITHOUT_PEER)
    faults = [f"{name} has neither a case nor an entry in WITHOUT_PEER" for name in names if name not in covered]
    if arguments.only and arguments.only not in names:
        parser.error(f"there is no rule or transform {arguments.only}; there are: {', '.join(names)}")

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # of scalars that optimizers keep, too
    data = Data()
    lines = ["| rule | peer | double | f32 | the difference in double |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.save(folder / "data.safetensors")
        for rule in [arguments.only] if arguments.only else names:
            for c in [c for c in CASES if c.rule == rule]:
                line, wrong = measure(c, program, folder, data)
                lines.append(line)
                faults += wrong
            if rule in WITHOUT_PEER:
                lines.append(f"| `{rule}` | none | | | {WITHOUT_PEER[rule]} |")
    table = "\n".join(lines)
    print(table)
    if arguments.write:
        page = PAGE.read_text()
        pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
        if len(pattern.findall(page)) != 1:
            sys.exit(f"{PAGE} must have the lines '{BEGIN}' and '{END}' once")
        PAGE.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", page))
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
