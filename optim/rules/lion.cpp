// Lion: core/update_rule/lion.h.
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct LionOptions : Options {
  std::vector<double> betas{0.9, 0.99};
  void fields(Fields& f) override {
    f("betas", betas,
      {.doc = "decay of the average whose sign is the step, and of the average that is kept", .min = 0.0, .max = 1.0});
  }
  void check() const override { check_betas(betas, {0.9, 0.99}); }
  UpdateRule rule() const { return LionRule{betas[0], betas[1]}; }
};

}  // namespace

void add_lion(RuleRegistry& registry) {
  add_elementwise<LionOptions>(
      registry, "lion",
      "the sign of two averages of the gradient; wants a smaller lr and a larger weight_decay than adamw");
}

}  // namespace monge::optim
