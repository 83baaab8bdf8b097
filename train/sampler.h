// Sampler: text from a trained model, one token at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/model.h"
#include "nn/parameter_store.h"
#include "train/data/dataset.h"
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

/// What a sample begins with and where it ends.
struct Prompt {
  std::vector<std::int32_t> tokens;       // at least one
  nn::Batch given = {};                   // one sequence of the fields that the model reads beside the tokens
  std::optional<std::int32_t> stop = {};  // a token after which nothing is drawn
};

/// Continues a prompt by up to `count` tokens; `emit` sees each as it is drawn, and nothing grows with their number. A
/// function of the model, the prompt and the options: the same seed gives the same tokens.
void generate(nn::Model& model, const nn::ParameterStore& store, const Prompt& prompt, std::int64_t count,
              const SamplingOptions& options, const std::function<void(std::int32_t)>& emit);
/// The same, returned.
std::vector<std::int32_t> generate(nn::Model& model, const nn::ParameterStore& store, const Prompt& prompt,
                                   std::int64_t count, const SamplingOptions& options);

/// A continuation and its log-probability in nats.
struct Hypothesis {
  std::vector<std::int32_t> tokens;
  double log_probability = 0.0;
};

/// Beam search: of all continuations the `beams` most probable ones so far are kept, token by token, until `count`
/// tokens or the prompt's stop token, which ends a continuation and is its last. The most probable first; those that
/// have ended are compared with the others by their log-probability as it is. Each step is a pass over all tokens,
/// without a cache. Throws InputError when prompt and continuation exceed the model's context.
std::vector<Hypothesis> beam_search(nn::Model& model, const nn::ParameterStore& store, const Prompt& prompt,
                                    std::int64_t count, std::int64_t beams);

/// The prompt that a text makes; without text a line break, or token 0 where the vocabulary has none. With `source`, of
/// a pair (train/data/pair_layout.h) whose target begins with the text: it ends with a line break. Throws InputError
/// when a model that reads sources gets none, or one that is empty or too long.
Prompt make_prompt(const nn::Model& model, const Tokenizer& tokenizer, Device device, const std::string& text,
                   const std::optional<std::string>& source = {});

/// What a run shows a sample of.
struct RunSample {
  Prompt prompt;
  std::string shown;  // before the sampled text
};

/// `text` is the prompt or, under a model that reads a source, that; without one the source of the first validation
/// window. Throws InputError for a text that cannot be one.
RunSample run_sample(const Dataset& dataset, const nn::Model& model, Device device, const std::string& text);

}  // namespace monge::train
