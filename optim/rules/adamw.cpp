// AdamW: core/update_rule/adamw.h.
#include "optim/rules/elementwise.h"

namespace monge::optim {

void add_adamw(RuleRegistry& registry) {
  add_elementwise<AdamOptions<AdamWRule>>(registry, "adamw", "Adam with decoupled weight decay");
}

}  // namespace monge::optim
