// Steps of an optimizer with a model that is one attention layer, with the weights of a DenseAttention.
#pragma once

#include <memory>
#include <string>

#include "autograd/tape.h"
#include "core/backend.h"
#include "core/options/yaml.h"
#include "optim/optimizer.h"
#include "support/attention_call.h"

namespace monge::test {

class OneLayer : public nn::Module {
 public:
  explicit OneLayer(const DenseAttention& d, const nn::AttentionOptions& attention = {})
      : context_{.width = d.width,
                 .heads = d.heads,
                 .kv_heads = d.kv_heads,
                 .layers = 1,
                 .context = d.tokens,
                 .dropout = &dropout_,
                 .residual_stddev = 1.0},
        position_(nn::positions().make(nn::positions().choose(d.rope_base > 0.0 ? "rope" : "none"), context_)),
        layer(d.map, attention, context_, *position_) {
    add_module("layer", layer);
  }

 private:
  nn::DropoutState dropout_;
  nn::LayerContext context_;
  std::unique_ptr<nn::Position> position_;

 public:
  nn::RowMapAttention layer;
};

/// On the reference device.
class OneLayerRun {
 public:
  OneLayerRun(const DenseAttention& d, const std::string& yaml, const nn::AttentionOptions& attention = {})
      : d_(d), model_(d, attention), store_(model_, reference, nn::Precision::float32, 1) {
    Matrix stacked(d.w_q.rows() + 2 * d.w_k.rows(), d.width);
    stacked << d.w_q, d.w_k, d.w_v;
    store_.values().backend().copy({.from = to_tensor(stacked), .to = store_.value(entry())});
    optim::OptimizerOptions options;
    read_yaml_text(yaml, "test", {}, options);
    optimizer_ = std::make_unique<optim::Optimizer>(options, model_, store_, 10);
  }

  /// A step under the loss sum(dout * output), dout (B T, C).
  void step(const Matrix& dout) {
    optimizer_->begin(++steps_);
    store_.clear_grads();
    autograd::Tape tape;
    autograd::Var y;
    {
      const autograd::Tape::Recording recording(tape);
      y = model_.layer.forward(to_tensor(d_.x).reshape({d_.batch, d_.tokens, d_.width}));
    }
    tape.backward(y, to_tensor(dout).reshape(y.shape()));
    store_.complete_grads();
    optimizer_->step(steps_);
  }

  /// W_q on top of W_k, ((H + G) D, C), and its gradient in the last step.
  Matrix queries_and_keys() const { return top(store_.value(entry())); }
  Matrix gradient() const { return top(store_.grad(entry())); }
  /// W_v and W_o, as they were initialised or have become.
  Matrix value_weight() const { return to_matrix(store_.value(entry())).bottomRows(d_.w_k.rows()); }
  Matrix output_weight() const { return to_matrix(store_.value(store_.entry("layer.out.weight"))); }
  Matrix gradient_of(const std::string& name) const { return to_matrix(store_.grad(store_.entry(name))); }
  const optim::Optimizer& optimizer() const { return *optimizer_; }

 private:
  nn::ParameterStore::Entry entry() const { return store_.entry("layer.qkv.weight"); }
  Matrix top(const Tensor& x) const { return to_matrix(x).topRows(d_.w_q.rows() + d_.w_k.rows()); }

  const DenseAttention& d_;
  OneLayer model_;
  nn::ParameterStore store_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::int64_t steps_ = 0;
};

}  // namespace monge::test
