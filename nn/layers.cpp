#include "nn/layers.h"

namespace monge::nn {

Linear::Linear(const Options& options)
    : activation_(options.activation),
      weight_(add_parameter("weight", {options.out, options.in}, options.role, Init::normal(options.stddev),
                            options.parts)),
      bias_(options.bias ? &add_parameter("bias", {options.out}, Role::bias, Init::constant(0.0)) : nullptr) {}

Var Linear::forward(const Var& x) const {
  if (observer_ == nullptr) return autograd::linear(x, weight_, bias_var(), activation_);
  return autograd::activation(watched(x, autograd::linear(x, weight_, bias_var())), activation_);
}

autograd::SplitLinear Linear::split(const Var& x) const {
  autograd::SplitLinear y = autograd::split_linear(x, weight_, bias_var());
  if (observer_ != nullptr) y.for_input = watched(x, y.for_input);
  return y;
}

Var Linear::watched(const Var& x, const Var& y) const {
  return autograd::on_gradient(y,
                               [observer = observer_, in = x.value()](const Tensor& dy) { observer->observe(in, dy); });
}

Var in_turn(const Linear& first, const Linear& second, const Var& x) {
  const bool plain = second.activation_ == Activation::none;
  if (!plain || first.observer_ != nullptr || second.observer_ != nullptr) return second.forward(first.forward(x));
  return autograd::mlp(x, {first.weight_, first.bias_var(), second.weight_, second.bias_var()}, first.activation_);
}

Embedding::Embedding(std::int64_t count, std::int64_t width, double stddev)
    : weight_(add_parameter("weight", {count, width}, Role::embedding, Init::normal(stddev))) {}

Var Embedding::forward(const Tensor& ids) const { return autograd::embedding(ids, weight_); }

Random Dropout::random() const {
  Random r = state_.random;
  r.stream += site_;
  return r;
}

Var Dropout::forward(const Var& x) const { return p() == 0.0 ? x : autograd::dropout(x, p(), random()); }

}  // namespace monge::nn
