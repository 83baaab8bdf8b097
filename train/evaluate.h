// Evaluation: the validation loss of a model, over a fixed pass, and its accuracy where there is one right answer.
#pragma once

#include <cstdint>
#include <optional>

#include "nn/model.h"
#include "train/data/dataset.h"

namespace monge::train {

struct Evaluation {
  double loss = 0.0;              // nats per token, or as the model says
  std::int64_t windows = 0;       // how many validation windows were read
  std::optional<double> optimum;  // loss of the best possible predictor on the same windows
  /// Share of the counted targets to which the model gives the largest weight, 0 .. 1. Where the optimum is zero alone,
  /// so that every target is determined, and where the data has answers.
  std::optional<double> accuracy;
  /// Share of the answers (Dataset::has_answers) that are right in every token, 0 .. 1. The model reads the right
  /// tokens before each, and by induction this is the share that greedy sampling gets right as a whole.
  std::optional<double> exact_match;

  /// What is left to learn: loss - optimum.
  std::optional<double> excess() const { return optimum ? std::optional(loss - *optimum) : std::nullopt; }
};

/// Mean loss over the first `batches` batches of `batch` validation windows, or over all windows when `batches` is 0.
/// Every counted token weighs the same, also where the last batch is smaller. Dropout is off. The same call on the
/// same model gives the same bits. Throws Interrupted when a stop is requested meanwhile.
Evaluation evaluate(nn::Model& model, const Dataset& dataset, Device device, std::int64_t batch,
                    std::int64_t batches = 0);

}  // namespace monge::train
