#include "optim/transforms/transforms.h"

namespace monge::optim {

TransformRegistry& transforms() {
  static auto& registry = *built_in([] {
    auto* r = new TransformRegistry("transform");
    add_cautious(*r);
    add_cautious_decay(*r);
    add_ema(*r);
    add_hyperball(*r);
    add_mars(*r);
    add_qk_clip(*r);
    return r;
  }());
  return registry;
}

}  // namespace monge::optim
