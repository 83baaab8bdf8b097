#include "train/evaluate.h"

#include <algorithm>

#include "train/batches.h"
#include "train/console/interrupt.h"

namespace monge::train {
namespace {

/// Counted targets, and runs of them: how many there are, and how many are right.
struct Answers {
  std::int64_t right_tokens = 0, runs = 0, right_runs = 0;

  /// A target is right that has the largest logit (B, T, V) of its position; of equal ones the first counts. Runs end
  /// with their segment, where there are `segments`.
  void add(const Tensor& logits, const std::vector<std::int32_t>& targets, const std::vector<std::int32_t>* segments) {
    const std::vector<double> values = logits.values();
    const auto vocab = static_cast<std::size_t>(logits.shape().last());
    const auto length = static_cast<std::size_t>(logits.size(1));
    const auto parted = [&](std::size_t i, std::size_t next) {
      return next % length == 0 || targets[i] < 0 || targets[next] < 0 ||
             (segments != nullptr && (*segments)[i] != (*segments)[next]);
    };
    bool run_is_right = false;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (targets[i] < 0) continue;
      const auto row = std::span(values).subspan(i * vocab, vocab);
      const bool right = std::ranges::max_element(row) - row.begin() == targets[i];
      const bool begins = i == 0 || parted(i - 1, i), ends = i + 1 == targets.size() || parted(i, i + 1);
      run_is_right = right && (begins || run_is_right);
      right_tokens += right ? 1 : 0;
      if (!ends) continue;
      ++runs;
      right_runs += run_is_right ? 1 : 0;
    }
  }
};

}  // namespace

Evaluation evaluate(nn::Model& model, const Dataset& dataset, Device device, std::int64_t batch, std::int64_t batches) {
  const autograd::Tape::Pause pause;
  model.eval();
  const std::vector<nn::BatchField> fields = model.batch_fields();
  Evaluation result;
  result.windows = dataset.validation_windows();
  if (batches > 0) result.windows = std::min(result.windows, batches * batch);
  require(result.windows > 0, "[evaluate] the dataset has no validation window");

  result.optimum = dataset.validation_optimum(result.windows);
  const bool counts_right = model.predicts_tokens() && (result.optimum == 0.0 || dataset.has_answers());

  double sum = 0.0;
  std::int64_t counted = 0;
  Answers answers;
  for (std::int64_t first = 0; first < result.windows; first += batch) {
    stop_here_if_interrupted();
    const std::int64_t rows = std::min(batch, result.windows - first);
    const HostBatch read = make_batch(
        fields, rows, [&](std::int64_t row, const Row& out) { dataset.validation_window(first + row, out); });
    const nn::Batch windows = read.on(device, fields);
    autograd::Var loss;
    std::int64_t targets = rows;  // where they are not tokens, sequences are alike
    if (counts_right) {
      const autograd::Var logits = model.logits(windows);
      loss = autograd::cross_entropy(logits, windows["targets"]);
      answers.add(logits.value(), read["targets"], read.find("segment"));
    } else {
      loss = model.loss(windows);
    }
    if (model.predicts_tokens()) {
      targets = std::ranges::count_if(read["targets"], [](std::int32_t t) { return t >= 0; });
    }
    sum += loss.value().item() * static_cast<double>(targets);
    counted += targets;
  }
  result.loss = sum / static_cast<double>(counted);
  if (counts_right) result.accuracy = static_cast<double>(answers.right_tokens) / static_cast<double>(counted);
  if (counts_right && dataset.has_answers()) {
    result.exact_match = static_cast<double>(answers.right_runs) / static_cast<double>(answers.runs);
  }
  return result;
}

}  // namespace monge::train
