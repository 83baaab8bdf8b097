// What the claims about attention are tried on: single rows, and whole layers, random or of a trained model.
#pragma once

#include <Eigen/Core>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"
#include "nn/attention/attention.h"

namespace monge::tools {

using Vector = Eigen::VectorXd;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Random streams of `monge verify` under its seed.
enum Stream : std::uint32_t {
  row_stream,
  layer_stream,
  payoff_stream,
  hessian_stream = 10,
  sampled_stream,
  covariance_stream = 20,
  factor_stream,
  product_stream,
  kl_stream,
  bias_stream,
  single_row_stream = 30,
  step_stream,
  spectrum_stream = 40,
  spline_stream = 50,
  trained_spline_stream,
  sigmoid_stream = 60,
  aaren_stream = 70,
  in_context_stream = 80,
  goat_stream = 90
};

/// Normal numbers; a tensor of them in f64 on the reference device.
Vector normal(RandomSequence& random, std::int64_t n, double stddev = 1.0);
Tensor normal_tensor(RandomSequence& random, const Shape& shape, double stddev = 1.0);

/// A tensor read as (rows, last), in double.
Matrix to_matrix(const Tensor& x);

/// One row: scores of its keys, and the payoffs u_j = dL/da_j of their weights.
struct RowProblem {
  RowMap map;
  Vector scores, payoffs;
};

/// One layer: a forward call, in f64 on the reference device.
struct LayerProblem {
  nn::AttentionCall call;
  bool normalises = false;  // queries and keys, so that scores are not bilinear in W_q and W_k
};

struct Problems {
  std::string title;
  std::vector<RowProblem> rows;
  std::vector<LayerProblem> layers;
  std::vector<std::string> notes;  // what was left out
  std::shared_ptr<void> owner;     // of what the layers refer to
};

/// The scores of a layer by their definition, with plain inner products.
class LayerScores {
 public:
  explicit LayerScores(const nn::AttentionCall& call);

  /// Keys that row i of sequence b sees.
  kernel::KeySpan span(std::int64_t b, std::int64_t i) const { return spans_.at(b, i); }
  /// Scores of row i of head h in sequence b for the keys it sees, prior included.
  Vector scores(std::int64_t b, std::int64_t h, std::int64_t i) const;
  /// After a change (B T, (H + 2 G) D) of a packed projection.
  LayerScores moved(const Matrix& change) const;
  /// Elements of token t of sequence b that belong to query head h; to the key head that it reads.
  Vector query(std::int64_t b, std::int64_t h, std::int64_t i) const;
  Vector key(std::int64_t b, std::int64_t h, std::int64_t j) const;
  Vector value(std::int64_t b, std::int64_t h, std::int64_t j) const;

 private:
  kernel::Attention args_;
  Matrix queries_, keys_;  // what the views of the call look into, (B T, W) and (B S, W'); the same if it is packed
  kernel::SpanReader spans_;
  Matrix distance_, key_, head_, slopes_;
};

/// Rows of every kind and softmax layers: causal, grouped, with priors and with rotations.
Problems random_problems(std::uint64_t seed);
/// The attention layers of a trained model on validation windows of its data, and rows drawn from them. Throws
/// InputError when there is no checkpoint or no data.
Problems checkpoint_problems(const std::filesystem::path& run_or_checkpoint, std::uint64_t seed);

}  // namespace monge::tools
