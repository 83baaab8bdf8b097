#include "train/evaluate.h"

#include <algorithm>

namespace monge::train {

Evaluation evaluate(nn::Gpt& model, const Dataset& dataset, Device device, std::int64_t batch, std::int64_t batches) {
  const autograd::Tape::Pause pause;
  model.eval();
  const auto T = static_cast<std::size_t>(model.options().context);
  Evaluation result;
  result.windows = dataset.validation_windows();
  if (batches > 0) result.windows = std::min(result.windows, batches * batch);
  require(result.windows > 0, "[evaluate] the dataset has no validation window");

  double sum = 0.0;
  std::int64_t counted = 0;
  std::vector<std::int32_t> inputs, targets;
  for (std::int64_t first = 0; first < result.windows; first += batch) {
    const std::int64_t rows = std::min(batch, result.windows - first);
    inputs.resize(static_cast<std::size_t>(rows) * T);
    targets.resize(inputs.size());
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::size_t at = static_cast<std::size_t>(row) * T;
      dataset.validation_window(first + row, std::span(inputs).subspan(at, T), std::span(targets).subspan(at, T));
    }
    const Shape shape{rows, model.options().context};
    const double loss =
        model.loss(Tensor::from(inputs, shape, device), Tensor::from(targets, shape, device)).value().item();
    const auto tokens = std::ranges::count_if(targets, [](std::int32_t t) { return t >= 0; });
    sum += loss * static_cast<double>(tokens);
    counted += tokens;
  }
  result.loss = sum / static_cast<double>(counted);
  result.optimum = dataset.validation_optimum(result.windows);
  return result;
}

}  // namespace monge::train
