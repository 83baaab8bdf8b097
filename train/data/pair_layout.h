// PairLayout: how a source and its target stand in the fields of a sequence.
//
// Under a model that reads a source (`encoder_decoder`), with . for padding and | for what does not count:
//
//   source  a b c .      source_segment  0 0 0 1
//   tokens  \n x y .     targets  x y \n |
//
// and under one that also reads which segment a token belongs to, and so several pairs:
//
//   source  a b c d .    source_segment  0 0 0 1 2
//   tokens  \n x y \n     targets  x y \n \n         segment  0 0 0 1
//
// Under one that reads tokens alone (`gpt`), which may hold several pairs, one after the other:
//
//   tokens  a b c \t x y \n d ...    targets  | | | x y \n | | ...
//
// A line break begins and ends a target, a tab ends a source: both must be tokens of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/batches.h"
#include "train/data/dataset.h"

namespace monge::train {

/// Tokens without marks.
struct Pair {
  std::vector<std::int32_t> source, target;
};

class PairLayout {
 public:
  /// Throws InputError when a tab or a line break is not one token of the tokenizer.
  PairLayout(const DatasetContext& context, const Tokenizer& tokenizer);

  /// Whether the model reads sources beside the tokens.
  bool apart() const { return source_length_ > 0; }
  std::vector<std::string> fields() const;
  /// Why a pair does not fit, with what is allowed; empty when it does.
  std::string misfit(const Pair& pair) const;
  std::int64_t context() const { return context_; }
  /// Whether the model takes several pairs a sequence.
  bool takes_several() const { return !apart() || reads_segments_; }
  /// Whether a pair fits behind others.
  bool has_room(const std::vector<const Pair*>& pairs, const Pair& next) const;
  /// Writes pairs that fit: one, or several.
  void write(const std::vector<const Pair*>& pairs, const Row& out) const;

 private:
  /// Places among the tokens of a sequence that a pair takes; where they hold the source too, one more lies between
  /// two pairs.
  std::int64_t size(const Pair& pair) const;

  std::int64_t context_ = 0, source_length_ = 0;  // T, S; S is 0 where there is no such field
  bool reads_segments_ = false;
  std::int32_t end_ = 0, separator_ = 0;
};

/// S, the longest source that a model reads beside the tokens; 0 for one that lists no `source` and `source_segment`.
std::int64_t longest_source(const std::vector<nn::BatchField>& fields);

/// How many tokens the source of the first pair of a sequence takes, and its target with the end: of a window that a
/// model with a source reads, a batch of one.
std::size_t first_source(const HostBatch& window);
std::size_t first_target(const HostBatch& window);

/// The one token of a tab or a line break. Throws InputError when it is none of the vocabulary, or several.
std::int32_t mark_token(const Tokenizer& tokenizer, char mark);

}  // namespace monge::train
