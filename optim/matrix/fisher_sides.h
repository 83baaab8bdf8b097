// The attention-local Fisher (nn/attention/fisher.h) in the place of the covariances of gradients: for matrices that
// are heads of W_q or W_k, L and R of Shampoo and SOAP become moving averages of its factors. L has the heads on its
// diagonal: those of different heads do not meet. Neither factor depends on the loss, and no targets are drawn.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "optim/attention/fisher_averages.h"
#include "optim/matrix/circuit_metric.h"
#include "optim/matrix/matrix_rule.h"
#include "optim/matrix/sides.h"

namespace monge::optim {

class FisherSides {
 public:
  /// Measures in every `every`-th step, the first one among them. Throws KeyError for `key` on behalf of `rule` where
  /// the model's attention has no Fisher.
  FisherSides(const std::string& key, const std::string& rule, std::int64_t every, const RuleContext& context,
              const std::vector<Matrix>& matrices);

  bool measures(std::int64_t number) const { return (number - 1) % every_ == 0; }
  /// Before the forward passes of step `number`.
  void begin(std::int64_t number);
  /// After the passes of a step that measures.
  void take();
  /// Whether matrix `i` is heads of W_q or W_k; else its sides are those of its gradients.
  bool has(std::size_t i) const { return parts_[i].has_value(); }
  /// L = decay L + (1 - decay) factor, and R, of what was taken.
  void update(std::size_t i, const Sides& sides, double decay, const Step& step) const;

 private:
  std::int64_t every_;
  std::vector<Circuit> circuits_;
  std::vector<std::optional<CircuitPart>> parts_;  // of the matrices
  std::optional<FisherMeasurement> measurement_;
  std::vector<FisherTensors> taken_;  // by circuit
};

}  // namespace monge::optim
