// Gradient descent with momentum: core/update_rule/sgd.h.
#include "core/error.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct SgdOptions : Options {
  double momentum = 0.9;
  bool nesterov = false;
  void fields(Fields& f) override {
    f("momentum", momentum, {.doc = "decay of the running sum of gradients; 0: none", .min = 0.0, .max = 1.0});
    f("nesterov", nesterov, {.doc = "look one momentum step ahead"});
  }
  void check() const override {
    if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
    if (nesterov && momentum == 0.0) throw InputError("optimizer.nesterov needs optimizer.momentum greater than 0");
  }
  UpdateRule rule() const { return momentum > 0.0 ? UpdateRule(MomentumRule{momentum, nesterov}) : SgdRule{}; }
};

}  // namespace

void add_sgd(RuleRegistry& registry) { add_elementwise<SgdOptions>(registry, "sgd", "gradient descent with momentum"); }

}  // namespace monge::optim
