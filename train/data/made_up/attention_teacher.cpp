#include "train/data/made_up/attention_teacher.h"

#include <fmt/format.h>

#include <mutex>

#include "core/backend.h"
#include "core/error.h"
#include "nn/attention_layer.h"
#include "nn/parameter_store.h"
#include "train/console/interrupt.h"
#include "train/console/progress.h"
#include "train/data/vector_dataset.h"

namespace monge::train {
namespace {

class AttentionTeacher : public VectorDataset {
 public:
  AttentionTeacher(const AttentionTeacherOptions& options, const DatasetContext& context)
      : VectorDataset("attention_teacher", context),
        options_(options),
        seed_(options.teacher_seed > 0 ? static_cast<std::uint64_t>(options.teacher_seed) : context.seed) {
    if (width() % options.heads != 0) {
      throw InputError(fmt::format("data.heads = {} does not divide model.width = {}; allowed: what divides it",
                                   options.heads, width()));
    }
    const double bytes = 2.0 * sizeof(float) * static_cast<double>(options.sequences + options.validation_windows) *
                         static_cast<double>(length() * width());
    const std::size_t limit = backend_of(Device{}).memory().limit();
    if (limit > 0 && bytes > static_cast<double>(limit)) {
      throw InputError(fmt::format(
          "data.sequences = {} and data.validation_windows = {} of this model's vectors are {}, and this "
          "machine has {}; lower them, model.context or model.width",
          options.sequences, options.validation_windows, bytes_text(bytes), bytes_text(static_cast<double>(limit))));
    }
  }

  std::string description() const override {
    return fmt::format(
        "attention_teacher: {} training and {} validation sequences of {} vectors of width {}, {} head{}, parameters "
        "uniform in +-{}",
        options_.sequences, options_.validation_windows, length(), width(), options_.heads,
        options_.heads == 1 ? "" : "s", options_.range);
  }
  std::int64_t validation_windows() const override { return options_.validation_windows; }
  std::optional<double> validation_optimum(std::int64_t windows) const override {
    require(windows >= 1 && windows <= validation_windows(), "validation_optimum: {} windows of {}", windows,
            validation_windows());
    return 0.0;
  }

 private:
  const VectorPairs& training() const override {
    std::call_once(training_made_, [this] { training_ = taught(options_.sequences, 1); });
    return training_;
  }
  const VectorPairs& validation() const override {
    std::call_once(validation_made_, [this] { validation_ = taught(options_.validation_windows, 2); });
    return validation_;
  }

  /// `count` sequences; `which`: 1 for training, 2 for validation.
  VectorPairs taught(std::int64_t count, std::uint32_t which) const {
    constexpr std::int64_t at_once = 64;
    const autograd::Tape::Pause pause;
    nn::AttentionLayerOptions shape;
    shape.width = width();
    shape.heads = options_.heads;
    shape.context = length();
    nn::AttentionLayerModel teacher(shape);
    const nn::ParameterStore store(teacher, Device{}, nn::Precision::float32, seed_, /*trainable=*/false);
    Backend& backend = store.values().backend();
    backend.uniform(
        {.x = store.values(), .low = -options_.range, .high = options_.range, .random = {seed_, language_stream, {}}});
    VectorPairs pairs{.count = count, .inputs = {}, .outputs = {}};
    const auto append = [](const Tensor& from, std::vector<float>& to) {
      const std::size_t begin = to.size();
      to.resize(begin + static_cast<std::size_t>(from.numel()));
      from.backend().copy_to_host({.from = from, .to = to.data() + begin});
    };
    for (std::int64_t first = 0; first < count; first += at_once) {
      stop_here_if_interrupted();
      const std::int64_t rows = std::min(at_once, count - first);
      const Tensor inputs = Tensor::empty({rows, length(), width()}, DType::f32, Device{}, Pool::data);
      const Tensor chunk = Tensor::from(std::vector{static_cast<std::int32_t>(first / at_once)}, {1}, Device{});
      backend.normal({.x = inputs, .random = {seed_, language_stream + which, chunk}});
      append(inputs, pairs.inputs);
      append(teacher.predictions({{"inputs", inputs}}).value(), pairs.outputs);
    }
    return pairs;
  }

  AttentionTeacherOptions options_;
  std::uint64_t seed_;
  mutable std::once_flag training_made_, validation_made_;
  mutable VectorPairs training_, validation_;
};

}  // namespace

void AttentionTeacherOptions::fields(Fields& f) {
  f("heads", heads, {.doc = "attention heads of the teacher", .min = 1, .max = 1 << 16});
  f("range", range, {.doc = "its parameters are uniform in +-range", .min = 0.0, .max = 1e6, .exclusive_min = true});
  f("sequences", sequences,
    {.doc = "size of the set that training draws from, with replacement", .min = 1, .max = 1 << 24});
  f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
  f("teacher_seed", teacher_seed, {.doc = "seed of the teacher and the inputs; 0: that of the run", .min = 0});
}

std::unique_ptr<Dataset> make_attention_teacher_dataset(const AttentionTeacherOptions& options,
                                                        const DatasetContext& context) {
  return std::make_unique<AttentionTeacher>(options, context);
}

}  // namespace monge::train
