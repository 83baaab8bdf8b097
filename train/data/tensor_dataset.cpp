#include "train/data/tensor_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/backend.h"
#include "core/safetensors.h"
#include "train/data/vector_dataset.h"

namespace monge::train {
namespace {

class TensorDataset : public VectorDataset {
 public:
  TensorDataset(const TensorOptions& options, const DatasetContext& context)
      : VectorDataset("tensors", context), path_(options.path) {
    const SafeTensors file(path_);
    training_ = read(file, "train");
    validation_ = read(file, "validation");
  }

  std::string description() const override {
    return fmt::format("tensors: {}, {} training and {} validation sequences of {} vectors of width {}", path_,
                       training_.count, validation_.count, length(), width());
  }
  std::int64_t validation_windows() const override { return validation_.count; }

 private:
  const VectorPairs& training() const override { return training_; }
  const VectorPairs& validation() const override { return validation_; }

  VectorPairs read(const SafeTensors& file, const std::string& part) const {
    VectorPairs pairs;
    pairs.inputs = numbers(file, part + ".inputs");
    pairs.outputs = numbers(file, part + ".outputs");
    pairs.count = std::ssize(pairs.inputs) / (length() * width());
    if (pairs.inputs.size() != pairs.outputs.size()) {
      throw InputError(fmt::format("{}: {}.inputs holds {} sequences and {}.outputs {}; they belong together", path_,
                                   part, pairs.count, part, std::ssize(pairs.outputs) / (length() * width())));
    }
    return pairs;
  }

  std::vector<float> numbers(const SafeTensors& file, const std::string& name) const {
    const SafeTensors::Entry& entry = file.entry(name);
    const Shape& shape = entry.shape;
    if (shape.rank() != 3 || shape[0] < 1 || shape[1] != length() || shape[2] != width()) {
      throw InputError(
          fmt::format("{}: {} is {}; allowed for this model: (N, {}, {}), N >= 1 sequences of model.context vectors of "
                      "model.width numbers",
                      path_, name, shape, length(), width()));
    }
    const Tensor tensor = Tensor::empty(shape, DType::f32, Device{}, Pool::data);
    file.read(name, tensor);
    std::vector<float> out(static_cast<std::size_t>(shape.numel()));
    tensor.backend().copy_to_host({.from = tensor, .to = out.data()});
    const auto bad = std::ranges::find_if_not(out, [](float x) { return std::isfinite(x); });
    if (bad != out.end()) {
      throw InputError(
          fmt::format("{}: element {} of {} is {}; numbers must be finite", path_, bad - out.begin(), name, *bad));
    }
    return out;
  }

  std::string path_;
  VectorPairs training_, validation_;
};

}  // namespace

void TensorOptions::fields(Fields& f) {
  f("path", path,
    {.doc = "safetensors file with train.inputs, train.outputs, validation.inputs and validation.outputs, (N, T, C)",
     .required = true});
}

std::unique_ptr<Dataset> make_tensor_dataset(const TensorOptions& options, const DatasetContext& context) {
  return std::make_unique<TensorDataset>(options, context);
}

}  // namespace monge::train
