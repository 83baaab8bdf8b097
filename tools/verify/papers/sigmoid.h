// Sigmoid attention (Ramapuram et al. 2024, arXiv:2409.04431): a_ij = sigmoid(z_ij + b), nothing sums to one.
//
// The bias b = -ln n, n the keys that a row sees, gives attention outputs the size that softmax gives them at the start
// of training; without it they grow with n. What the rows sum to is the mean of e^z, less at most mean e^(2z) / n.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/verify/papers/paper.h"
#include "tools/verify/problems.h"

namespace monge::tools {

/// What ships, unless a test plants a fault.
struct SigmoidMaps {
  RowMap balanced = SigmoidMap{};                   // b = -ln n
  RowMap unbiased = SigmoidMap{.balanced = false};  // b = 0
};

/// One map on normal queries, keys and values.
struct InitialSize {
  double row_sum = 0.0;  // mean over rows
  double output = 0.0;   // norm of the output, relative to that of softmax
};
struct InitialSizes {
  std::int64_t n = 0;  // tokens
  double mean_exp = 0.0;
  InitialSize balanced, unbiased;
};
InitialSizes initial_sizes(std::int64_t n, std::uint64_t seed, const SigmoidMaps& maps = {});

Findings sigmoid_findings(std::uint64_t seed, const SigmoidMaps& maps = {});
/// Row sums and output norms against n.
std::string sigmoid_svg(std::uint64_t seed);

/// A model that is trained on made-up data: attention, and what is to keep it stable.
struct Stabiliser {
  const char* name;
  const char* model;  // keys of `model`, YAML
};
/// Softmax, which comes first, and sigmoid attention with each bias and each stabiliser.
std::span<const Stabiliser> stabilisers();

/// Means over seeds of what training makes of one of them.
struct TrainedSigmoid {
  std::string name;
  double output = 0.0;              // root mean square of what attention gives to W_o at the start, relative to softmax
  double loss = 0.0, spread = 0.0;  // validation loss after training; standard deviation over seeds
  double longer = 0.0;              // that of sequences twice as long
  double optimum = 0.0, longer_optimum = 0.0;  // of the best predictor
};
std::vector<TrainedSigmoid> train_sigmoids(std::span<const Stabiliser> which, std::uint64_t seed);
Findings trained_sigmoid_findings(const std::vector<TrainedSigmoid>& trained);

Examined examine_sigmoid(std::uint64_t seed);

}  // namespace monge::tools
