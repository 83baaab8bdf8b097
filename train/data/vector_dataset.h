// VectorDataset: sequences of vectors to learn sequences of vectors from: the fields `inputs` and `outputs`, both
// (T, C), of a finite set that training draws from with replacement.
#pragma once

#include <vector>

#include "train/data/dataset.h"
#include "train/tokenizer/char_tokenizer.h"

namespace monge::train {

/// N sequences, row-major.
struct VectorPairs {
  std::int64_t count = 0;              // N
  std::vector<float> inputs, outputs;  // (N, T, C)
};

class VectorDataset : public Dataset {
 public:
  /// Throws InputError for a model that reads no vectors, on behalf of data kind `kind`.
  VectorDataset(const std::string& kind, const DatasetContext& context);

  /// Nothing here is text: who asks for tokens is told of a single one.
  std::int64_t vocab() const override { return tokenizer_.vocab(); }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  std::vector<std::string> fields() const override { return {"inputs", "outputs"}; }

  void train_sequence(std::uint64_t index, const Row& out) const override;
  void validation_window(std::int64_t index, const Row& out) const override;

 protected:
  std::int64_t length() const { return field_.length; }  // T
  std::int64_t width() const { return field_.width; }    // C
  /// From several threads.
  virtual const VectorPairs& training() const = 0;
  virtual const VectorPairs& validation() const = 0;

 private:
  void write(const VectorPairs& pairs, std::int64_t index, const Row& out) const;

  nn::BatchField field_;
  std::uint64_t seed_;
  CharTokenizer tokenizer_{U"\n"};
};

}  // namespace monge::train
