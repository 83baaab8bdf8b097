// AdamW with Nesterov's momentum: core/update_rule/nadamw.h.
#include "optim/rules/elementwise.h"

namespace monge::optim {

void add_nadamw(RuleRegistry& registry) {
  add_elementwise<AdamOptions<NAdamWRule>>(registry, "nadamw", "AdamW that looks one step of momentum ahead");
}

}  // namespace monge::optim
