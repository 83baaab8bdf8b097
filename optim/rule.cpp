#include "optim/rule.h"

#include "optim/rules.h"

namespace monge::optim {

Registry<Rule, nn::ParameterStore&, const std::vector<Segment>&>& rules() {
  static auto& registry = *[] {
    auto* r = new RuleRegistry("optimizer");
    add_adamw(*r);
    add_ademamix(*r);
    add_lion(*r);
    add_mars(*r);
    add_nadamw(*r);
    add_sgd(*r);
    add_signum(*r);
    return r;
  }();
  return registry;
}

}  // namespace monge::optim
