// The plain layers: Linear, Embedding, Dropout.
#pragma once

#include "autograd/ops.h"
#include "nn/module.h"

namespace monge::nn {

using autograd::Var;

/// Is shown the input x (..., in) of a Linear and the gradient dy (..., out) of x W^T + b, during backward. The tensors
/// must not be written to.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  virtual void observe(const Tensor& x, const Tensor& dy) = 0;
};

/// y = activation(x W^T + b), W (out, in).
class Linear : public Module {
 public:
  struct Options {
    std::int64_t in = 0, out = 0;
    bool bias = false;
    double stddev = 0.02;  // of the initial weights
    Role role = Role::matrix;
    Activation activation = Activation::none;
    std::vector<Part> parts = {};  // of the weight
  };
  explicit Linear(const Options& options);

  /// x (..., in) -> (..., out)
  Var forward(const Var& x) const;
  /// The same without the activation, read twice; see autograd::split_linear. Observers see the gradient of the first.
  autograd::SplitLinear split(const Var& x) const;
  /// For the backward passes of what is recorded from now on; null: nobody. It must live until then.
  void set_observer(LinearObserver* observer) { observer_ = observer; }
  const Parameter& weight() const { return weight_; }
  const Parameter* bias() const { return bias_; }
  Activation activation() const { return activation_; }

 private:
  friend Var in_turn(const Linear& first, const Linear& second, const Var& x);
  Var bias_var() const { return bias_ != nullptr ? bias_->var() : Var(); }
  /// y, watched by the observer.
  Var watched(const Var& x, const Var& y) const;

  Activation activation_;
  Parameter& weight_;
  Parameter* bias_;
  LinearObserver* observer_ = nullptr;
};

/// second(first(x)). The backward pass recomputes the hidden layer instead of keeping it, unless a layer is observed.
Var in_turn(const Linear& first, const Linear& second, const Var& x);

/// Rows of a table (count, width).
class Embedding : public Module {
 public:
  Embedding(std::int64_t count, std::int64_t width, double stddev = 0.02);
  /// ids i32 (...) -> (..., width)
  Var forward(const Tensor& ids) const;
  const Parameter& weight() const { return weight_; }

 private:
  Parameter& weight_;
};

/// The random state that the dropout sites of one model share: the seed, and the device scalar that counts micro-steps.
struct DropoutState {
  double p = 0.0;
  Random random;  // stream: of the first site
  std::uint32_t sites = 0;
  bool training = false;
};

/// One place where elements are dropped while training.
class Dropout {
 public:
  explicit Dropout(DropoutState& state) : state_(state), site_(state.sites++) {}
  Var forward(const Var& x) const;
  /// Probability now: 0 outside training.
  double p() const { return state_.training ? state_.p : 0.0; }
  Random random() const;

 private:
  DropoutState& state_;
  std::uint32_t site_;
};

}  // namespace monge::nn
