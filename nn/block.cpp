// The blocks that `model.block` names.
#include "nn/registries.h"

namespace monge::nn {
namespace {

/// x + attention(norm(x)), then x + mlp(norm(x)). Each addition is left to the norm that follows it.
class PrenormBlock : public Block {
 public:
  PrenormBlock(const LayerContext& c, const BlockParts& parts)
      : kinds_(parts),
        norm1_(norms().make(parts.norm, c)),
        attention_(attentions().make(parts.attention, c, *parts.position)),
        attention_dropout_(*c.dropout),
        norm2_(norms().make(parts.norm, c)),
        mlp_(mlps().make(parts.mlp, c)),
        mlp_dropout_(*c.dropout) {
    add_module("norm1", *norm1_);
    add_module("attention", *attention_);
    add_module("norm2", *norm2_);
    add_module("mlp", *mlp_);
  }

  Residual forward(const Residual& x) override {
    return around(x, [this](const Var& y) { return attention_->forward(y); });
  }
  bool is_recurrent() const override { return attention_->is_recurrent(); }
  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override {
    return attention_->make_cache(context);
  }
  Residual forward_cached(const Residual& x, Cache& cache, std::int64_t start) override {
    return around(x, [&](const Var& y) { return attention_->forward_cached(y, cache, start); });
  }

 private:
  template <class Attend>
  Residual around(const Residual& x, const Attend& attend) {
    const auto first = x.branch.defined() ? norm1_->forward(x.stream, x.branch)
                                          : autograd::SumAndNorm{x.stream, norm1_->forward(x.stream)};
    require_like(x.stream, first.norm, "norm", kinds_.norm);
    const Var attended = attend(first.norm);
    require_like(x.stream, attended, "attention", kinds_.attention);
    const auto second = norm2_->forward(first.sum, attention_dropout_.forward(attended));
    const Var branch = mlp_->forward(second.norm);
    require_like(x.stream, branch, "mlp", kinds_.mlp);
    return {second.sum, mlp_dropout_.forward(branch)};
  }
  static void require_like(const Var& x, const Var& y, const char* what, const Choice& choice) {
    require(y.shape() == x.shape(), "{} '{}' gives {} for {}; a layer keeps the shape of what it reads", what,
            choice.kind, y.shape(), x.shape());
  }

  const BlockParts kinds_;
  std::unique_ptr<Norm> norm1_;
  std::unique_ptr<SelfAttention> attention_;
  Dropout attention_dropout_;
  std::unique_ptr<Norm> norm2_;
  std::unique_ptr<Mlp> mlp_;
  Dropout mlp_dropout_;
};

}  // namespace

std::unique_ptr<Cache> SelfAttention::make_cache(const CacheContext&) const { return nullptr; }
Var SelfAttention::forward_cached(const Var&, Cache&, std::int64_t) {
  throw std::logic_error("an attention layer that makes a cache must have forward_cached as well");
}
std::unique_ptr<Cache> Block::make_cache(const CacheContext&) const { return nullptr; }
Residual Block::forward_cached(const Residual&, Cache&, std::int64_t) {
  throw std::logic_error("a block that makes a cache must have forward_cached as well");
}

Registry<Block, const LayerContext&, const BlockParts&>& blocks() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Block, const LayerContext&, const BlockParts&>("block");
    r->add<NoOptions>("prenorm", "norm before attention and before the mlp, each added to the residual stream",
                      [](const NoOptions&, const LayerContext& c, const BlockParts& parts) {
                        return std::make_unique<PrenormBlock>(c, parts);
                      });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
