// The sign of the averaged gradient: core/update_rule/signum.h.
#include "core/error.h"
#include "optim/rules/elementwise.h"

namespace monge::optim {
namespace {

struct SignumOptions : Options {
  double momentum = 0.95;
  void fields(Fields& f) override {
    f("momentum", momentum, {.doc = "decay of the averaged gradient", .min = 0.0, .max = 1.0});
  }
  void check() const override {
    if (momentum >= 1.0) throw InputError("optimizer.momentum must be less than 1");
  }
  UpdateRule rule() const { return SignumRule{momentum}; }
};

}  // namespace

void add_signum(RuleRegistry& registry) {
  add_elementwise<SignumOptions>(registry, "signum",
                                 "the sign of the averaged gradient; wants a smaller lr than adamw");
}

}  // namespace monge::optim
