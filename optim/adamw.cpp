// AdamW: core/update_rule/adamw.h.
#include "optim/elementwise.h"

namespace monge::optim {
namespace {

struct AdamWOptions : Options {
  std::vector<double> betas{0.9, 0.999};
  double eps = 1e-8;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
  }
  void check() const override { check_betas(betas, {0.9, 0.99}); }
  UpdateRule rule() const { return AdamWRule{betas[0], betas[1], eps}; }
};

}  // namespace

void add_adamw(RuleRegistry& registry) {
  add_elementwise<AdamWOptions>(registry, "adamw", "Adam with decoupled weight decay");
}

}  // namespace monge::optim
