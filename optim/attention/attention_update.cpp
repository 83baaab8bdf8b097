#include "optim/attention/attention_update.h"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "optim/attention/attention_updates.h"

namespace monge::optim {
namespace {

/// Plain backpropagation.
class Backprop : public AttentionUpdate {};

struct RowOptions : AttentionUpdateOptions {
  double damping = 0.1;
  std::string damping_scale = "per_key";
  void fields(Fields& f) override {
    AttentionUpdateOptions::fields(f);
    f("damping", damping, {.doc = "lambda", .min = 0.0, .exclusive_min = true});
    f("damping_scale", damping_scale,
      {.doc = "what is added to the metric of a row of n keys: per_key lambda / n, absolute lambda, trace lambda times "
              "the mean eigenvalue",
       .choices = {"per_key", "absolute", "trace"}});
  }
  RowDamping row_damping() const {
    using Scale = RowDamping::Scale;
    return {damping, damping_scale == "absolute" ? Scale::absolute
                     : damping_scale == "trace"  ? Scale::trace
                                                 : Scale::per_key};
  }
};

/// Done by the layers in their backward pass.
class Row : public AttentionUpdate {
 public:
  Row(const RowOptions& options, const std::vector<AttentionLayer>& layers) {
    require_symmetric_maps("row", layers);
    for (const AttentionLayer& at : layers) at.layer->set_row_damping(options.row_damping());
  }
};

}  // namespace

std::vector<AttentionLayer> attention_layers(nn::Module& model) {
  std::vector<AttentionLayer> out;
  model.visit([&](const std::string& name, nn::Module& module) {
    if (auto* layer = dynamic_cast<nn::RowMapAttention*>(&module)) {
      out.push_back({.name = name,
                     .layer = layer,
                     .query = {.rows = layer->query_rows()},
                     .key = {.rows = layer->key_rows()},
                     .index = static_cast<std::uint32_t>(out.size())});
    }
  });
  return out;
}

void AttentionUpdateOptions::fields(Fields& f) {
  f("match", match,
    {.doc = "pattern on the names of the layers that it updates, blocks.0.attention and so on, with * and ?; the rule "
            "updates the others"});
}

std::vector<AttentionLayer> AttentionUpdateOptions::chosen(const std::vector<AttentionLayer>& layers) const {
  std::vector<AttentionLayer> out;
  std::ranges::copy_if(layers, std::back_inserter(out),
                       [&](const AttentionLayer& at) { return fnmatch(match.c_str(), at.name.c_str(), 0) == 0; });
  if (out.empty() && !layers.empty()) {
    std::vector<std::string> names;
    for (const AttentionLayer& at : layers) names.push_back(at.name);
    throw KeyError("optimizer.attention.match",
                   fmt::format("no attention layer matches '{}'; there are {}", match, fmt::join(names, ", ")));
  }
  return out;
}

void require_queries(const std::string& update, const std::vector<AttentionLayer>& layers) {
  if (!layers.empty()) return;
  throw KeyError("optimizer.attention.update",
                 fmt::format("{} changes how W_q and W_k are updated, and no attention of this model projects queries "
                             "from its tokens; allowed for this model: backprop",
                             update));
}

void require_symmetric_maps(const std::string& update, const std::vector<AttentionLayer>& layers) {
  const auto refuse = [&](const std::string& why) {
    throw KeyError("optimizer.attention.update",
                   fmt::format("{} needs {}; allowed for this model: backprop, scaled", update, why));
  };
  require_queries(update, layers);
  for (const AttentionLayer& at : layers) {
    const RowMap& map = at.layer->map();
    if (metric_of(map) == Metric::none) {
      refuse(fmt::format("a row map with a symmetric Jacobian, and that of attention kind {} is not", name_of(map)));
    }
  }
}

void require_fisher(const FisherUse& use, const std::vector<AttentionLayer>& layers) {
  const auto refuse = [&](const std::string& why) {
    throw KeyError(use.key, fmt::format("{} {}; allowed for this model: {}", use.who, why, use.allowed));
  };
  if (layers.empty()) refuse("needs the Fisher of W_q and W_k, and no attention of this model projects queries");
  for (const AttentionLayer& at : layers) {
    if (metric_of(at.layer->map()) == Metric::none) {
      refuse(fmt::format("needs a row map with a symmetric Jacobian, and that of attention kind {} is not",
                         name_of(at.layer->map())));
    }
    if (at.layer->has_qk_norm()) {
      refuse("does not know the Jacobian of normalised queries and keys (model.attention.qk_norm)");
    }
  }
}

AttentionUpdateRegistry& attention_updates() {
  static auto& registry = *built_in([] {
    auto* r = new AttentionUpdateRegistry("attention update");
    r->add<NoOptions>(
        "backprop", "the rule updates W_q and W_k like all other matrices",
        [](const NoOptions&, const std::vector<AttentionLayer>&) { return std::make_unique<Backprop>(); });
    r->add<RowOptions>("row", "gradients of W_q and W_k from the damped natural gradient of each row of scores",
                       [](const RowOptions& o, const std::vector<AttentionLayer>& layers) {
                         return std::make_unique<Row>(o, o.chosen(layers));
                       });
    add_fisher(*r);
    add_fisher_cg(*r);
    add_scaled(*r);
    return r;
  }());
  return registry;
}

}  // namespace monge::optim
