// The blocks that `model.block` names.
#include <functional>

#include "core/error.h"
#include "nn/registries.h"

namespace monge::nn {
namespace {

struct PrenormOptions : Options {
  double layer_scale = 0.0;
  bool hybrid_norm = false;
  void fields(Fields& f) override {
    f("layer_scale", layer_scale,
      {.doc = "initial value of a learned gain for each channel of every branch; 0: no gain",
       .min = 0.0,
       .max = 1000.0});
    f("hybrid_norm", hybrid_norm, {.doc = "a norm of the model's kind on what attention adds to the stream"});
  }
};

/// LayerScale: a gain for each channel of what a branch adds (Touvron et al. 2021, arXiv:2103.17239).
class LayerScale : public Module {
 public:
  LayerScale(double initial, std::int64_t width)
      : gain_(add_parameter("gain", {width}, Role::gain, Init::constant(initial))) {}
  Var forward(const Var& branch) const { return autograd::mul(branch, gain_); }

 private:
  Parameter& gain_;
};

/// x + attention(norm(x)), then x + cross-attention(norm(x)) if it has one, then x + mlp(norm(x)). Each addition is
/// left to the norm that follows it. A hybrid norm makes the first two x + norm(attention(norm(x))) (Ramapuram et al.
/// 2024, arXiv:2409.04431).
class PrenormBlock : public Block {
 public:
  PrenormBlock(const PrenormOptions& o, const LayerContext& c, const BlockParts& parts)
      : kinds_(parts),
        norm1_(norms().make(parts.norm, c)),
        attention_(attentions().make(parts.attention, c, *parts.position)),
        attention_end_(*c.dropout),
        norm2_(norms().make(parts.norm, c)),
        mlp_(mlps().make(parts.mlp, c)),
        mlp_end_(*c.dropout) {
    const auto finish = [&](BranchEnd& end, const std::string& name, bool normalises) {
      if (normalises) {
        end.norm = norms().make(parts.norm, c);
        add_module(name + "_norm", *end.norm);
      }
      if (o.layer_scale > 0.0) {
        end.scale = std::make_unique<LayerScale>(o.layer_scale, c.width);
        add_module(name + "_scale", *end.scale);
      }
    };
    add_module("norm1", *norm1_);
    add_module("attention", *attention_);
    if (parts.cross) {
      cross_ = std::make_unique<Cross>(c, parts);
      add_module("cross_norm", *cross_->norm);
      add_module("cross_attention", *cross_->attention);
      finish(cross_->end, "cross_attention", o.hybrid_norm);
    }
    add_module("norm2", *norm2_);
    add_module("mlp", *mlp_);
    finish(attention_end_, "attention", o.hybrid_norm);
    finish(mlp_end_, "mlp", false);
  }

  Residual forward(const Residual& x) override {
    return around(x, [this](const Var& y) { return attention_->forward(y); }, {});
  }
  Residual forward_with(const Residual& x, const Source& source) override {
    if (cross_ == nullptr) return around(x, [&](const Var& y) { return attention_->forward_with(y, source); }, {});
    return around(
        x,
        [&](const Var& y) { return source.of_tokens ? attention_->forward_with(y, source) : attention_->forward(y); },
        [&](const Var& y) { return cross_->attention->forward_with(y, source); });
  }
  bool is_recurrent() const override { return attention_->is_recurrent(); }
  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override {
    return attention_->make_cache(context);
  }
  std::unique_ptr<Cache> make_cache_with(const CacheContext& context, const Source& source) const override {
    auto both = std::make_unique<BothCaches>();
    both->own = attention_->make_cache(context);
    both->cross = cross_->attention->make_cache_with(context, source);
    if (both->own == nullptr || both->cross == nullptr) return nullptr;
    return both;
  }
  Residual forward_cached(const Residual& x, Cache& cache, std::int64_t start) override {
    if (cross_ == nullptr) {
      return around(x, [&](const Var& y) { return attention_->forward_cached(y, cache, start); }, {});
    }
    auto& both = dynamic_cast<BothCaches&>(cache);
    return around(
        x, [&](const Var& y) { return attention_->forward_cached(y, *both.own, start); },
        [&](const Var& y) { return cross_->attention->forward_cached(y, *both.cross, start); });
  }

 private:
  /// What happens to a branch before it is added.
  struct BranchEnd {
    explicit BranchEnd(DropoutState& state) : dropout(state) {}
    Var forward(const Var& branch) const {
      const Var normalised = norm ? norm->forward(branch) : branch;
      return dropout.forward(scale ? scale->forward(normalised) : normalised);
    }
    std::unique_ptr<Norm> norm;         // or none
    std::unique_ptr<LayerScale> scale;  // or none
    Dropout dropout;
  };
  /// Cross-attention and what stands before and behind it.
  struct Cross {
    Cross(LayerContext c, const BlockParts& parts) : end(*c.dropout) {
      norm = norms().make(parts.norm, c);
      c.reads = Reads::source;
      attention = attentions().make(parts.attention, c, no_position);
    }
    Position no_position;  // the states of the source know theirs
    std::unique_ptr<Norm> norm;
    std::unique_ptr<Attention> attention;
    BranchEnd end;
  };
  struct BothCaches : Cache {
    std::unique_ptr<Cache> own, cross;
  };
  using Branch = std::function<Var(const Var&)>;

  /// `cross` may be empty.
  Residual around(const Residual& x, const Branch& attend, const Branch& cross) {
    auto at = x.branch.defined() ? norm1_->forward(x.stream, x.branch)
                                 : autograd::SumAndNorm{x.stream, norm1_->forward(x.stream)};
    require_like(x.stream, at.norm, "norm", kinds_.norm);
    const Var attended = attend(at.norm);
    require_like(x.stream, attended, "attention", kinds_.attention);
    Var branch = attention_end_.forward(attended);
    if (cross) {
      at = cross_->norm->forward(at.sum, branch);
      const Var crossed = cross(at.norm);
      require_like(x.stream, crossed, "attention", kinds_.attention);
      branch = cross_->end.forward(crossed);
    }
    at = norm2_->forward(at.sum, branch);
    branch = mlp_->forward(at.norm);
    require_like(x.stream, branch, "mlp", kinds_.mlp);
    return {at.sum, mlp_end_.forward(branch)};
  }
  static void require_like(const Var& x, const Var& y, const char* what, const Choice& choice) {
    require(y.shape() == x.shape(), "{} '{}' gives {} for {}; a layer keeps the shape of what it reads", what,
            choice.kind, y.shape(), x.shape());
  }

  const BlockParts kinds_;
  std::unique_ptr<Norm> norm1_;
  std::unique_ptr<Attention> attention_;
  BranchEnd attention_end_;
  std::unique_ptr<Cross> cross_;  // or none
  std::unique_ptr<Norm> norm2_;
  std::unique_ptr<Mlp> mlp_;
  BranchEnd mlp_end_;
};

}  // namespace

Var Attention::forward_with(const Var&, const Source&) {
  throw InputError(
      "model.attention: this kind lets each token read all earlier ones and no others, so it cannot stand in an "
      "encoder, read one, or keep the pairs of a packed sequence apart; allowed: softmax and the other kinds with a "
      "row "
      "map, or model.kind gpt");
}
std::unique_ptr<Cache> Attention::make_cache(const CacheContext&) const { return nullptr; }
std::unique_ptr<Cache> Attention::make_cache_with(const CacheContext&, const Source&) const { return nullptr; }
Var Attention::forward_cached(const Var&, Cache&, std::int64_t) {
  throw std::logic_error("an attention layer that makes a cache must have forward_cached as well");
}
Residual Block::forward_with(const Residual&, const Source&) {
  throw InputError("model.block: this kind knows no encoder (Block::forward_with); choose prenorm, or model.kind gpt");
}
std::unique_ptr<Cache> Block::make_cache(const CacheContext&) const { return nullptr; }
std::unique_ptr<Cache> Block::make_cache_with(const CacheContext&, const Source&) const { return nullptr; }
Residual Block::forward_cached(const Residual&, Cache&, std::int64_t) {
  throw std::logic_error("a block that makes a cache must have forward_cached as well");
}

Registry<Block, const LayerContext&, const BlockParts&>& blocks() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Block, const LayerContext&, const BlockParts&>("block");
    r->add<PrenormOptions>("prenorm", "norm before attention and before the mlp, each added to the residual stream",
                           [](const PrenormOptions& o, const LayerContext& c, const BlockParts& parts) {
                             return std::make_unique<PrenormBlock>(o, c, parts);
                           });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
