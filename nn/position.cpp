// The kinds of `model.position`: how a model knows the positions of tokens.
#include <cmath>

#include "core/error.h"
#include "nn/goat.h"
#include "nn/registries.h"

namespace monge::nn {
namespace {

class NoPosition : public Position {
 public:
  bool is_bounded() const override { return false; }
};

/// A learned vector for each position, added to the token embedding.
class LearnedPosition : public Position {
 public:
  explicit LearnedPosition(const LayerContext& c)
      : weight_(add_parameter("weight", {c.context, c.width}, Role::embedding, Init::normal(0.02))) {}
  Var embed(const Var& x, const Places& places) override {
    if (places.each) return autograd::add(x, autograd::embedding(places.each, weight_));
    return autograd::add(x, autograd::slice(weight_, places.start, places.start + x.size(1)));
  }

 private:
  Parameter& weight_;  // (context, C)
};

struct RopeOptions : Options {
  double base = 10000.0;
  void fields(Fields& f) override {
    f("base", base,
      {.doc = "wavelengths run from 2 pi to 2 pi base", .unit = "tokens", .min = 1.0, .exclusive_min = true});
  }
};

/// Rotates queries and keys (Su et al. 2021, arXiv:2104.09864).
class RopePosition : public Position {
 public:
  RopePosition(const RopeOptions& o, const LayerContext& c)
      : base_(o.base), heads_(c.heads + c.kv_heads), head_dim_(c.head_dim()) {
    if (head_dim_ % 2 != 0) {
      throw InputError(
          fmt::format("model.position: rope needs an even head width, model.width / model.heads is {}", head_dim_));
    }
  }
  bool rotates() const override { return true; }
  bool is_bounded() const override { return false; }

 protected:
  Var rotation_of(const Var& qkv, std::int64_t start) override {
    return autograd::rope(qkv, heads_, head_dim_, base_, start);
  }

 private:
  double base_;
  std::int64_t heads_, head_dim_;
};

/// A penalty proportional to the distance, with its own slope for each head (Press et al. 2022, arXiv:2108.12409).
class AlibiPosition : public Position {
 public:
  explicit AlibiPosition(const LayerContext& c) : heads_(c.heads) {}
  bool has_slopes() const override { return true; }
  bool is_bounded() const override { return false; }

 protected:
  Tensor slopes_on(Device device) override {
    if (!slopes_.defined() || !(slopes_.device() == device)) {
      slopes_ =
          Tensor::from(alibi_slopes(heads_), {heads_}, backend_of(device).default_float(), device, Pool::parameters);
    }
    return slopes_;
  }

 private:
  std::int64_t heads_;
  Tensor slopes_;
};

/// A trained log-prior in each layer (nn/goat.h).
class GoatPosition : public Position {
 public:
  GoatPosition(const GoatOptions& o, const LayerContext& c) : options_(o), context_(c) {
    if (c.reads != Reads::earlier) {
      throw InputError(
          "model.position: goat is a prior of causal attention, and an encoder's is not; allowed with it: learned, "
          "rope, "
          "alibi, none");
    }
  }
  bool has_prior() const override { return true; }
  bool is_bounded() const override { return false; }

 protected:
  std::unique_ptr<PositionPrior> prior_of_layer() override { return std::make_unique<GoatPrior>(options_, context_); }

 private:
  const GoatOptions options_;
  const LayerContext context_;
};

}  // namespace

// 2^(-8 i / H) for a power of two; otherwise the slopes of the next lower power, filled up with every other slope of
// the next higher one.
std::vector<double> alibi_slopes(std::int64_t heads) {
  const auto geometric = [](std::int64_t n) {
    std::vector<double> out;
    for (std::int64_t i = 1; i <= n; ++i) {
      out.push_back(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(n)));
    }
    return out;
  };
  std::int64_t power = 1;
  while (power * 2 <= heads) power *= 2;
  std::vector<double> out = geometric(power);
  const std::vector<double> finer = geometric(2 * power);
  for (std::size_t i = 0; static_cast<std::int64_t>(out.size()) < heads; i += 2) out.push_back(finer[i]);
  return out;
}

Registry<Position, const LayerContext&>& positions() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Position, const LayerContext&>("position");
    r->add<NoOptions>("learned", "a learned vector for each position",
                      [](const NoOptions&, const LayerContext& c) { return std::make_unique<LearnedPosition>(c); });
    r->add<RopeOptions>("rope", "rotated queries and keys", [](const RopeOptions& o, const LayerContext& c) {
      return std::make_unique<RopePosition>(o, c);
    });
    r->add<NoOptions>("alibi", "a penalty on distance in the scores",
                      [](const NoOptions&, const LayerContext& c) { return std::make_unique<AlibiPosition>(c); });
    r->add<GoatOptions>(
        "goat", "a trained log-prior of distances and of keys in the scores of each layer",
        [](const GoatOptions& o, const LayerContext& c) { return std::make_unique<GoatPosition>(o, c); });
    r->add<NoOptions>("none", "no positions: the causal mask alone tells the order",
                      [](const NoOptions&, const LayerContext&) { return std::make_unique<NoPosition>(); });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
