#include "nn/layers.h"

namespace monge::nn {

Linear::Linear(const Options& options)
    : activation_(options.activation),
      weight_(add_parameter("weight", {options.out, options.in}, options.role, Init::normal(options.stddev),
                            options.parts)),
      bias_(options.bias ? &add_parameter("bias", {options.out}, Role::bias, Init::constant(0.0)) : nullptr) {}

Var Linear::forward(const Var& x) const {
  return autograd::linear(x, weight_, bias_ != nullptr ? bias_->var() : Var(), activation_);
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
