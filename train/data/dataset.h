// Dataset: where sequences of tokens come from. A sequence is a function of the seed and its index alone, so a resumed
// run sees the batches it would have seen, nothing needs to be saved, and it does not matter how a step is cut.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/options/registry.h"
#include "core/random.h"
#include "core/random_streams.h"
#include "nn/batch.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::train {

/// What a dataset is made for.
struct DatasetContext {
  std::int64_t context = 0;            // T, tokens of a sequence
  std::vector<nn::BatchField> fields;  // what the model reads
  std::uint64_t seed = 0;              // of the data order
  /// That of a model which is to read the data; null: the dataset makes its own. A dataset whose tokens have a fixed
  /// meaning need not look at it. It outlives the construction.
  const Tokenizer* tokenizer = nullptr;
  bool grows = false;  // whether it may get more tokens for what the data holds beyond it (Tokenizer::grown)
};

/// The random numbers of training sequence `index`.
inline RandomSequence training_random(std::uint64_t seed, std::uint64_t index) {
  return {seed, training_stream + static_cast<std::uint32_t>(index >> 32), static_cast<std::uint32_t>(index)};
}

/// Where the fields of one sequence are written to: the integers by name, the real ones beside them.
struct Row : nn::PerField<std::span<std::int32_t>> {
  using PerField::PerField;
  nn::PerField<std::span<float>> reals;  // (length, width) each
};

/// Immutable after construction; all members are thread-safe and throw std::invalid_argument for spans of another
/// length and windows that do not exist.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual std::int64_t vocab() const = 0;
  /// How tokens read as text.
  virtual const Tokenizer& tokenizer() const = 0;
  /// One line for people: kind, size, split, entropy.
  virtual std::string description() const = 0;

  /// The fields that it can write: T tokens, and as targets the T tokens after them (-1 where the position does not
  /// count), unless it says otherwise.
  virtual std::vector<std::string> fields() const { return {"tokens", "targets"}; }

  /// Sequence `index` (from 0, below 2^60) of the training data: a step takes the next batch x accumulate of them.
  virtual void train_sequence(std::uint64_t index, const Row& out) const = 0;
  void train_sequence(std::uint64_t index, std::span<std::int32_t> tokens, std::span<std::int32_t> targets) const {
    train_sequence(index, {{"tokens", tokens}, {"targets", targets}});
  }

  /// The validation data as consecutive windows of T tokens, always the same ones, in a fixed order.
  virtual std::int64_t validation_windows() const = 0;
  virtual void validation_window(std::int64_t index, const Row& out) const = 0;
  void validation_window(std::int64_t index, std::span<std::int32_t> tokens, std::span<std::int32_t> targets) const {
    validation_window(index, {{"tokens", tokens}, {"targets", targets}});
  }

  /// A number that stands for the content: a checkpoint keeps it to notice that the data is another. It depends neither
  /// on where the data lies nor on the length of a run. By default a checksum over the first windows and sequences,
  /// with the fields that a model reads; a dataset that knows all its bytes says more.
  virtual std::uint64_t content(const std::vector<nn::BatchField>& fields) const;

  /// Whether each run of counted targets is an answer, which is right as a whole or not at all.
  virtual bool has_answers() const { return false; }

  /// Exact entropy rate of the language in nats per token, where it is known.
  virtual std::optional<double> entropy_rate() const { return std::nullopt; }
  /// Mean loss in nats per token over the first `windows` validation windows of the best possible predictor: one that
  /// knows the language and sees each window from its start. An excess loss is measured from here. `windows` is in
  /// 1 .. validation_windows().
  virtual std::optional<double> validation_optimum(std::int64_t windows) const {
    (void)windows;
    return std::nullopt;
  }
};

/// Registry `data.kind`.
Registry<Dataset, DatasetContext>& datasets();

}  // namespace monge::train
