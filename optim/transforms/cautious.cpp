// Cautious updates (Liang et al. 2024, arXiv:2411.16085): steps only where the direction and the gradient have the
// same sign, rescaled to make up for the others. g is the clipped gradient itself, not what mars makes of it, as in the
// code of MARS. For each parameter,
//
//   k = 1[u g > 0]        u = u k / max(mean(k), 0.001)
//
// Cautious weight decay (Chen et al. 2025, arXiv:2510.12402): decay only where it does not oppose the step,
//
//   u = u + weight_decay p 1[u p >= 0]
#include "optim/arithmetic.h"
#include "optim/transforms/transforms.h"

namespace monge::optim {
namespace {

class Cautious : public Transform {
 public:
  using Transform::Transform;
  bool needs_directions() const override { return true; }

  void change_directions(const Step& step, const Tensor& u) override {
    for (const Target& target : context().targets) {
      const Tensor direction = target.view(u), k = is_positive(mul(direction, target.view(step.gradients)));
      mul(k, min(div(scalar(1.0, u), mean(k)), 1000.0), k);
      mul(direction, k, direction);
    }
  }
};

class CautiousDecay : public Transform {
 public:
  using Transform::Transform;
  bool needs_directions() const override { return true; }
  bool handles_decay() const override { return true; }

  void change_directions(const Step&, const Tensor& u) override {
    for (const Target& target : context().targets) {
      if (target.weight_decay == 0.0) continue;
      const Tensor direction = target.view(u), p = target.view(store().values());
      // p 1[u p >= 0] = p - p 1[-u p > 0]
      const Tensor opposed = mul(direction, p);
      scale(opposed, -1.0, opposed);
      const Tensor removed = mul(p, is_positive(opposed));
      axpy(target.weight_decay, p, direction);
      axpy(-target.weight_decay, removed, direction);
    }
  }
};

}  // namespace

void add_cautious(TransformRegistry& registry) {
  registry.add<NoOptions>("cautious", "no step where direction and gradient differ in sign",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<Cautious>(c); });
}

void add_cautious_decay(TransformRegistry& registry) {
  registry.add<NoOptions>("cautious_decay", "weight decay only where it points along the step",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<CautiousDecay>(c); });
}

}  // namespace monge::optim
