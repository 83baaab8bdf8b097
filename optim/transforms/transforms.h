// The built-in transforms, each added to the registry by its own file.
#pragma once

#include "optim/transform.h"

namespace monge::optim {

using TransformRegistry = Registry<Transform, const RuleContext&>;

void add_cautious(TransformRegistry& registry);
void add_cautious_decay(TransformRegistry& registry);
void add_ema(TransformRegistry& registry);
void add_hyperball(TransformRegistry& registry);
void add_mars(TransformRegistry& registry);
void add_qk_clip(TransformRegistry& registry);

}  // namespace monge::optim
