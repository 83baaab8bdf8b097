// Cautious updates (Liang et al. 2024, arXiv:2411.16085): only where the direction agrees with the gradient, and the
// longer there. For each parameter,
//
//   k = 1[u g > 0]        u = u k / max(mean(k), 0.001)
//
// Cautious weight decay (Chen et al. 2025, arXiv:2510.12402): decay only where it does not fight the step,
//
//   u = u + weight_decay p 1[u p >= 0]
#include "optim/device_math.h"
#include "optim/transforms.h"

namespace monge::optim {
namespace {

class Cautious : public Transform {
 public:
  using Transform::Transform;
  bool needs_directions() const override { return true; }

  void change_directions(const Step& step, const Tensor& u) override {
    for (const Target& target : context().targets) {
      const Tensor direction = u.flat_view(target.entry.begin, target.entry.shape);
      const Tensor gradient = step.gradients.flat_view(target.entry.begin, target.entry.shape);
      Backend& backend = u.backend();
      const Tensor agrees = calculate(Pointwise::positive, product(direction, gradient));
      const Tensor longer = calculate(Pointwise::divide, number(1.0, u), mean_of(agrees));
      backend.mul(agrees, calculate(Pointwise::minimum, longer, number(1000.0, u)), agrees);
      backend.mul(direction, agrees, direction);
    }
  }
};

class CautiousDecay : public Transform {
 public:
  using Transform::Transform;
  bool needs_directions() const override { return true; }
  bool takes_decay() const override { return true; }

  void change_directions(const Step&, const Tensor& u) override {
    for (const Target& target : context().targets) {
      if (target.weight_decay == 0.0) continue;
      const Tensor direction = u.flat_view(target.entry.begin, target.entry.shape);
      const Tensor p = store().values().flat_view(target.entry.begin, target.entry.shape);
      // p without what points against the step: p - p 1[-u p > 0].
      const Tensor against = product(direction, p);
      u.backend().scale(against, -1.0, against);
      const Tensor fought = product(p, calculate(Pointwise::positive, against));
      u.backend().add_scaled(p, target.weight_decay, direction);
      u.backend().add_scaled(fought, -target.weight_decay, direction);
    }
  }
};

}  // namespace

void add_cautious(TransformRegistry& registry) {
  registry.add<NoOptions>("cautious", "no step where the direction disagrees with the gradient",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<Cautious>(c); });
}

void add_cautious_decay(TransformRegistry& registry) {
  registry.add<NoOptions>("cautious_decay", "weight decay only where it points along the step",
                          [](const NoOptions&, const RuleContext& c) { return std::make_unique<CautiousDecay>(c); });
}

}  // namespace monge::optim
