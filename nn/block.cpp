// The blocks that `model.block` names.
#include "nn/registries.h"

namespace monge::nn {
namespace {

/// x + attention(norm(x)), then x + mlp(norm(x)). Each addition is left to the norm that follows it.
class PrenormBlock : public Block {
 public:
  PrenormBlock(const LayerContext& c, const BlockParts& parts)
      : norm1_(norms().make(parts.norm, c)),
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

  Residual forward(const Residual& x, Cache* cache, std::int64_t start) override {
    const auto first = x.branch.defined() ? norm1_->forward(x.stream, x.branch)
                                          : autograd::SumAndNorm{x.stream, norm1_->forward(x.stream)};
    const Var attended = attention_dropout_.forward(attention_->forward(first.norm, cache, start));
    const auto second = norm2_->forward(first.sum, attended);
    return {second.sum, mlp_dropout_.forward(mlp_->forward(second.norm))};
  }
  std::unique_ptr<Cache> make_cache(const CacheContext& context) const override {
    return attention_->make_cache(context);
  }

 private:
  std::unique_ptr<Norm> norm1_;
  std::unique_ptr<SelfAttention> attention_;
  Dropout attention_dropout_;
  std::unique_ptr<Norm> norm2_;
  std::unique_ptr<Mlp> mlp_;
  Dropout mlp_dropout_;
};

}  // namespace

Registry<Block, const LayerContext&, const BlockParts&>& blocks() {
  static auto& registry = *[] {
    auto* r = new Registry<Block, const LayerContext&, const BlockParts&>("block");
    r->add<NoOptions>("prenorm", "norm before attention and before the mlp, each added to the residual stream",
                      [](const NoOptions&, const LayerContext& c, const BlockParts& parts) {
                        return std::make_unique<PrenormBlock>(c, parts);
                      });
    return r;
  }();
  return registry;
}

}  // namespace monge::nn
