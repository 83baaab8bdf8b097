// MARS: gradients with reduced variance (Yuan et al. 2024, arXiv:2411.10438), in the approximate form, with the
// gradient of the previous step in the place of the gradient at the previous parameters on this batch:
//
//   c = g + gamma b / (1 - b) (g - previous)        c = g at the first step        previous = g
//   c = c min(1, 1 / |c|)                           for each parameter
//
// The paper's MARS-AdamW is this transform with adamw and betas [0.95, 0.99].
#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/transforms/transforms.h"

namespace monge::optim {
namespace {

struct MarsOptions : Options {
  double gamma = 0.025;
  double beta = 0.95;
  double norm = 1.0;
  void fields(Fields& f) override {
    f("gamma", gamma, {.doc = "strength of the correction by the previous gradient; 0: none", .min = 0.0, .max = 1e3});
    f("beta", beta, {.doc = "decay of the first moment of the rule", .min = 0.0, .max = 1.0});
    f("norm", norm, {.doc = "largest norm of a parameter's corrected gradient; 0: no limit", .min = 0.0});
  }
  void check() const override {
    if (beta >= 1.0) throw KeyError("beta", "must be below 1, for example 0.95");
  }
};

class Mars : public Transform {
 public:
  Mars(const MarsOptions& options, const RuleContext& context)
      : Transform(context), options_(options), previous_(Tensor::like(store().values(), Pool::optimizer)) {
    fill(previous_, 0.0);
  }

  bool changes_gradients() const override { return true; }
  void change_gradients(const Step& step) override {
    const Tensor &c = step.gradients, g = c.clone();
    const double strength = options_.gamma * options_.beta / (1.0 - options_.beta);
    if (step.number > 1) axpby(-strength, previous_, 1.0 + strength, c);
    step.set(previous_, g);
    if (options_.norm == 0.0) return;
    for (const Target& target : context().targets) {
      const Tensor part = target.view(c);
      mul(part, clip_factor(options_.norm, norm(part)), part);
    }
  }

  std::vector<NamedTensor> state() const override { return {{"mars.previous", previous_}}; }

 private:
  MarsOptions options_;
  Tensor previous_;
};

}  // namespace

void add_mars(TransformRegistry& registry) {
  registry.add<MarsOptions>("mars", "gradients corrected by the previous one (MARS)",
                            [](const MarsOptions& o, const RuleContext& c) { return std::make_unique<Mars>(o, c); });
}

}  // namespace monge::optim
