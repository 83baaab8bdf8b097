"""Rules for matrices, with a base rule for the vector."""

import functools

import numpy as np
import torch
from cases import BASE, DECAY, Instead, Patched, base, case, heavyball, matrices
from recorded import MATRICES


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
         bound=1e-11, bound_f32=1e-3)(muon(theirs))


@case("normuon", f"name: normuon, scale: keller, row_decay: 0.95, {BASE}", "pytorch_optimizer",
      "`NorMuon`, its bf16 made f64", bound=1e-7, bound_f32=1e-3, why="its eps of 1e-10 in two divisions")
def _(p, data):
    from pytorch_optimizer.optimizer.muon import normuon as module
    optimizer = module.NorMuon([{"params": matrices(p), "use_muon": True, "weight_decay": DECAY}], foreach=False)
    in_double = functools.partial(module.zero_power_via_newton_schulz_5, dtype=torch.float64)
    return [Patched(optimizer, module, "zero_power_via_newton_schulz_5", in_double), base(p)]


# The averaged gradient is preconditioned here, the preconditioned gradient averaged there: no momentum. No graft on
# either side, roots in every step. Where L or R is singular, the two differ by their eps; the square matrix has none.
@case("shampoo", f"name: shampoo, betas: [0, 0.95], eps: 0, graft: false, every: 1, {BASE}", "pytorch_optimizer",
      "`ScalableShampoo(use_svd)`, no momentum or graft; square matrix", bound=1e-9, bound_f32=2e-2,
      why="the least eps, of the largest eigenvalue: 1e-15 in double, 1e-6 in f32", names=["square", "gain"])
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
      bound=1e-10, bound_f32=1e-3, names=["square", "tall", "wide", "gain"],
      why="rounding; not of gradients of rank 2, of which each basis is one of many")
def _(p, data):
    from pytorch_optimizer.optimizer import soap as module
    optimizer = module.SOAP([p[name] for name in ("square", "tall", "wide")], betas=(0.9, 0.95), shampoo_beta=0.95,
                            weight_decay=0.0, precondition_frequency=10, max_precondition_dim=24, eps=1e-30)
    return [Patched(optimizer, module, "torch", Instead("float32")), base(p)]


# heavyball counts the step that only measures among those between two updates of the bases, hence the shift; it counts
# in fractions, of which 1 / 8 is exact.
@case("soap", f"name: soap, betas: [0.9, 0.95], factor_decay: 0.95, eps: 1.0e-30, max_dim: 24, every: 8, {BASE}",
      "heavyball", "`SOAP(max_precond_dim=24)`, bases updated a step later", bound=1e-6, bound_f32=1e-3,
      why="it adds 1e-8 of the largest eigenvalue before its QR", names=["square", "tall", "wide", "gain"])
def _(p, data):
    optimizer = heavyball().SOAP([p[name] for name in ("square", "tall", "wide")], betas=(0.9, 0.95), shampoo_beta=0.95,
                                 eps=1e-30, weight_decay=DECAY, precondition_frequency=8, max_precond_dim=24,
                                 merge_dims=False, storage_dtype="float64")
    optimizer.inner_group["cumulative_prob"] = -1 / 8
    return [optimizer, base(p)]


def kron(p, rate, data):
    """From factors with which the first step has elements of RMS 1, as Monge's, fitted at `rate` in every step."""
    from pytorch_optimizer import Kron
    torch.manual_seed(1)

    def first(name):
        return np.mean(data.gradients[name][0] ** 2) ** -0.25  # enters squared

    scaled = [{"params": [p[name]], "precondition_lr": rate, "precondition_init_scale": first(name)}
              for name in MATRICES]
    return [Kron(scaled, momentum=0.9, weight_decay=DECAY, pre_conditioner_update_probability=1.0, balance_prob=0.0,
                 precondition_dtype=torch.float64), base(p)]


@case("psgd_kron", f"name: psgd_kron, momentum: 0.9, fit_rate: 0, {BASE}", "pytorch_optimizer",
      "`Kron` without its fits, from Monge's first factors", bound=1e-5, bound_f32=1e-4,
      why="its eps of 1e-6 in the limit on the RMS of a step")
def _(p, data):
    return kron(p, 0.0, data)


@case("psgd_kron", f"name: psgd_kron, momentum: 0.9, {BASE}", "pytorch_optimizer",
      "`Kron`, from Monge's first factors", bound=0.5, bound_f32=0.5,
      why="another form of the fits (triangular factors), and noise drawn where Monge takes its expectation")
def _(p, data):
    return kron(p, 0.1, data)


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
    """EK-FAC measures in every other step here, along eigenvectors of the step before, which had the same batch, so
    that they are those of curvlinops. The steps between, and the first two, are K-FAC's."""

    def averaged(self, name):
        return self.curvature(name, corrected=self.count > 1 and self.count % 2 == 1)


NATURAL = f"damping: 0.1, betas: [0.9, 0.95], every: 1, graft: false, {BASE}"


@case("kfac", f"name: kfac, refresh: 1, decay: 0.9, {NATURAL}", "curvlinops-for-pytorch",
      "`KFACLinearOperator`, its factors averaged, exact damping", bound=1e-11, bound_f32=1e-3)
def _(p, data):
    return [Natural(p, data, decay=0.9), base(p)]


@case("kfac", f"name: kfac, factors: input, refresh: 1, decay: 0.9, {NATURAL}", "curvlinops-for-pytorch",
      "`KFACLinearOperator(fisher_type=\"forward-only\")`, the same with `factors: input`", bound=1e-11,
      bound_f32=1e-3)
def _(p, data):
    return [Natural(p, data, decay=0.9, fisher="forward-only"), base(p)]


@case("ekfac", f"name: ekfac, refresh: 2, decay: 0, {NATURAL}", "curvlinops-for-pytorch",
      "`EKFACLinearOperator`, exact damping", bound=1e-11, bound_f32=1e-3)
def _(p, data):
    return [CorrectedNatural(p, data), base(p)]
