#include "train/data/vector_dataset.h"

#include <fmt/format.h>

#include <algorithm>

namespace monge::train {
namespace {

const nn::BatchField& inputs_of(const std::string& kind, const DatasetContext& context) {
  const auto found = std::ranges::find(context.fields, "inputs", &nn::BatchField::name);
  if (found == context.fields.end() || !found->is_real()) {
    throw InputError(
        fmt::format("data.kind {} makes vectors, and the model reads none; allowed with it: model.kind "
                    "attention_layer, or a model of your own that reads `inputs`",
                    kind));
  }
  return *found;
}

}  // namespace

VectorDataset::VectorDataset(const std::string& kind, const DatasetContext& context)
    : field_(inputs_of(kind, context)), seed_(context.seed) {}

void VectorDataset::train_sequence(std::uint64_t index, const Row& out) const {
  RandomSequence random = training_random(seed_, index);
  const VectorPairs& pairs = training();
  write(pairs, static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(pairs.count))), out);
}

void VectorDataset::validation_window(std::int64_t index, const Row& out) const {
  require(index >= 0 && index < validation_windows(), "validation_window: window {} of {}", index,
          validation_windows());
  write(validation(), index, out);
}

void VectorDataset::write(const VectorPairs& pairs, std::int64_t index, const Row& out) const {
  const std::int64_t size = length() * width();
  const auto copy = [&](const std::vector<float>& from, const char* name) {
    const std::span<float> to = out.reals[name];
    require(std::ssize(to) == size, "a sequence of {} numbers, where {} has {}", size, name, to.size());
    std::copy_n(from.begin() + index * size, size, to.begin());
  };
  copy(pairs.inputs, "inputs");
  copy(pairs.outputs, "outputs");
}

}  // namespace monge::train
