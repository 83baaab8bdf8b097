// Sampler: text from a trained model, one token at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "nn/model.h"
#include "nn/parameter_store.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::train {

struct SamplingOptions {
  double temperature = 1.0;  // divides the logits; 0: always the most probable token
  std::int64_t top_k = 0;    // only the k most probable tokens; 0: all
  double top_p = 1.0;        // only the most probable tokens that together reach probability p
  std::uint64_t seed = 1;

  /// Throws InputError naming the option that is out of range.
  void check() const;
};

/// The probabilities (V) to draw the next token from. Top-k is applied first, then top-p on what is left; the token
/// with the lower id comes first among equals.
std::vector<double> next_token_probabilities(std::span<const double> logits, const SamplingOptions& options);

/// Continues `prompt` (at least one token) by `count` tokens; `emit` sees each as it is drawn, and nothing grows with
/// their number. A function of the model, the prompt and the options: the same seed gives the same tokens.
void generate(nn::Model& model, const nn::ParameterStore& store, const std::vector<std::int32_t>& prompt,
              std::int64_t count, const SamplingOptions& options, const std::function<void(std::int32_t)>& emit);
/// The same, returned.
std::vector<std::int32_t> generate(nn::Model& model, const nn::ParameterStore& store,
                                   const std::vector<std::int32_t>& prompt, std::int64_t count,
                                   const SamplingOptions& options);

/// The tokens of a prompt. An empty one stands for a line break, or for token 0 where the vocabulary has none.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, const std::string& prompt);

}  // namespace monge::train
