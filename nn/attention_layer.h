// AttentionLayerModel: one attention layer without anything around it, which learns to make vectors of vectors. It
// starts as torch.nn.MultiheadAttention does: W_q, W_k and W_v together uniform in +-sqrt(6 / (in + out)) (Glorot and
// Bengio 2010), W_o uniform in +-1 / sqrt(C), biases zero.
#pragma once

#include <memory>

#include "nn/model.h"
#include "nn/registries.h"

namespace monge::nn {

struct AttentionLayerOptions : monge::Options {
  std::int64_t width = 128;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 0;  // 0: as many as heads
  std::int64_t context = 64;
  Choice position = positions().choose("none");
  Choice attention = attentions().choose("softmax");
  bool bias = true;
  bool causal = false;

  void fields(Fields& f) override;
  void check() const override;
};

/// Reads `inputs` (B, T, C), and its loss is the mean squared error against `outputs` (B, T, C).
class AttentionLayerModel : public Model {
 public:
  explicit AttentionLayerModel(const AttentionLayerOptions& options);

  std::vector<BatchField> batch_fields() const override;
  bool predicts_tokens() const override { return false; }
  std::string loss_unit() const override { return "mean squared error"; }
  Var loss(const Batch& batch) override;
  /// The same against outputs drawn from normal(prediction, C / 2): the law under which the squared error of a token,
  /// divided by C, is the negative logarithm of its density, up to a constant.
  Var sampled_loss(const Batch& batch, const Random& random) override;
  void write_target_share(const Batch& batches, const Tensor& share) const override;
  /// What it makes of the inputs, (B, T, C).
  Var predictions(const Batch& batch) { return hidden(batch); }

  double flops_per_token() const override;
  std::string flops_formula() const override { return options_.causal ? "6 N + 6 C T" : "6 N + 12 C T"; }

 protected:
  Var hidden(const Batch& batch) override;
  Var head(const Var& hidden) override { return hidden; }

 private:
  AttentionLayerOptions options_;
  std::unique_ptr<Position> position_;
  std::unique_ptr<Attention> attention_;
};

}  // namespace monge::nn
