// AdamW with a second, slow average of the gradient: core/update_rule/ademamix.h.
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct AdEMAMixOptions : Options {
  std::vector<double> betas{0.9, 0.999, 0.9999};
  double alpha = 5.0;
  std::int64_t ramp = 0;
  double eps = 1e-8;
  void fields(Fields& f) override {
    f("betas", betas,
      {.doc = "decay of the first and second moment and of the slow average; 1 / (1 - the last) should be well under "
              "the steps of the run",
       .min = 0.0,
       .max = 1.0});
    f("alpha", alpha, {.doc = "weight of the slow average beside the first moment", .min = 0.0});
    f("ramp", ramp,
      {.doc = "alpha and the slow average's half-life grow over so many steps; 0: over the run, 1: not at all",
       .unit = "steps",
       .min = 0});
    f("eps", eps, {.doc = "added to the root of the second moment", .min = 0.0});
  }
  void check() const override { check_betas(betas, {0.9, 0.999, 0.9999}); }
  UpdateRule rule(std::int64_t steps) const {
    return AdEMAMixRule{betas[0], betas[1], betas[2], alpha, eps, ramp > 0 ? ramp : steps};
  }
};

}  // namespace

void add_ademamix(RuleRegistry& registry) {
  registry.add<AdEMAMixOptions>("ademamix", "AdamW with a second, slow average of the gradient",
                                [](const AdEMAMixOptions& o, const RuleContext& c) {
                                  return std::make_unique<ElementwiseRule>(o.rule(c.steps), c);
                                });
}

}  // namespace monge::optim
