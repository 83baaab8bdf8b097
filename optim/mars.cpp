// AdamW on gradients with reduced variance: core/update_rule/mars.h.
#include "optim/elementwise.h"

namespace monge::optim {
namespace {

struct MarsOptions : Options {
  std::vector<double> betas{0.95, 0.99};
  double gamma = 0.025;
  double eps = 1e-8;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("gamma", gamma, {.doc = "strength of the correction by the last step's gradient; 0: adamw", .min = 0.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
  }
  void check() const override { check_betas(betas, {0.95, 0.99}); }
  UpdateRule rule() const { return MarsRule{betas[0], betas[1], gamma, eps}; }
};

}  // namespace

void add_mars(RuleRegistry& registry) {
  add_elementwise<MarsOptions>(
      registry, "mars",
      "AdamW on gradients corrected by the last step's (MARS); clip_norm stands for its limit on each tensor");
}

}  // namespace monge::optim
