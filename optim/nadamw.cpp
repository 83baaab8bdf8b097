// AdamW with Nesterov's momentum: core/update_rule/nadamw.h.
#include "optim/elementwise.h"

namespace monge::optim {
namespace {

struct NAdamWOptions : Options {
  std::vector<double> betas{0.9, 0.999};
  double eps = 1e-8;
  void fields(Fields& f) override {
    f("betas", betas, {.doc = "decay of the first and second moment", .min = 0.0, .max = 1.0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
  }
  void check() const override { check_betas(betas, {0.9, 0.99}); }
  UpdateRule rule() const { return NAdamWRule{betas[0], betas[1], eps}; }
};

}  // namespace

void add_nadamw(RuleRegistry& registry) {
  add_elementwise<NAdamWOptions>(registry, "nadamw", "AdamW that looks one step of momentum ahead");
}

}  // namespace monge::optim
