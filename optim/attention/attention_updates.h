// The built-in attention updates, each added to the registry by its own file.
#pragma once

#include "optim/attention/attention_update.h"

namespace monge::optim {

using AttentionUpdateRegistry = Registry<AttentionUpdate, const std::vector<AttentionLayer>&>;

void add_fisher(AttentionUpdateRegistry& registry);
void add_fisher_cg(AttentionUpdateRegistry& registry);
void add_scaled(AttentionUpdateRegistry& registry);

}  // namespace monge::optim
