#include "optim/matrix/fisher_sides.h"

#include "core/backend.h"
#include "optim/attention/attention_update.h"

namespace monge::optim {

FisherSides::FisherSides(const std::string& key, const std::string& rule, std::int64_t every,
                         const RuleContext& context, const std::vector<Matrix>& matrices)
    : every_(every), circuits_(circuits_of(context.model, context.store)) {
  require_fisher({.key = key, .who = rule, .allowed = "gradient"}, attention_layers(context.model));
  for (const Matrix& matrix : matrices) parts_.push_back(circuit_part(circuits_, {Leg::query, Leg::key}, matrix));
  std::vector<nn::RowMapAttention*> layers;
  for (const Circuit& at : circuits_) layers.push_back(at.layer);
  measurement_.emplace(layers);
}

void FisherSides::begin(std::int64_t number) {
  if (measures(number)) measurement_->begin();
}

void FisherSides::take() {
  taken_.clear();
  for (std::size_t i = 0; i < circuits_.size(); ++i) taken_.push_back(measurement_->take(i));
}

namespace {

/// x (N, D, D) as blocks on the diagonal of a matrix (N D, N D).
Tensor block_diagonal(const Tensor& x) {
  const std::int64_t N = x.size(0), D = x.size(1);
  const Tensor out = Tensor::zeros({N * D, N * D}, x.dtype(), x.device());
  const StridedView blocks(out.reshape({N, D, N, D}));
  for (std::int64_t k = 0; k < N; ++k) {
    x.backend().strided_copy(
        {.from = x.slice(k, k + 1).reshape({1, D, 1, D}), .to = blocks.slice(0, k, k + 1).slice(2, k, k + 1)});
  }
  return out;
}

}  // namespace

void FisherSides::update(std::size_t i, const Sides& sides, double decay, const Step& step) const {
  const CircuitPart& part = *parts_[i];
  const FisherTensors& factors = taken_[part.circuit];
  const bool query = part.leg == Leg::query;
  const Tensor& left = factors[query ? FisherFactor::query_left : FisherFactor::key_left];
  const Tensor& right = factors[query ? FisherFactor::query_right : FisherFactor::key_right];
  if (sides[0].covariance.defined()) {
    step.update_average(sides[0].covariance, decay, block_diagonal(left.slice(part.first, part.first + part.heads)));
  }
  if (sides[1].covariance.defined()) {
    step.update_average(sides[1].covariance, decay, right.reshape({right.size(1), right.size(2)}));
  }
}

}  // namespace monge::optim
