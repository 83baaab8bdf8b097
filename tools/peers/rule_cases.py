"""Rules that update any parameter."""

import torch
from cases import DECAY, case, groups, matrices
from recorded import MATRICES, SHAPES, Data


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


# Both average steps, as published, where timm's averages directions. 0.999 is a largest decay of the second moments,
# which 40 steps do not reach.
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
      "`SophiaH` with the Gauss-Newton estimates as its `hessian`", bound=1e-10,
      why="Monge adds 1e-15 to rho h")
def _(p, data):
    return [Sophia(p, data)]
