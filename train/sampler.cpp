#include "train/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/random.h"
#include "core/random_streams.h"

namespace monge::train {
namespace {

/// Turns weights into probabilities.
void normalise(std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w /= sum;
}

std::int32_t draw(const std::vector<double>& probabilities, double uniform) {
  std::size_t last = 0;  // rounding may leave the sum just below 1
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    if (probabilities[i] == 0.0) continue;
    last = i;
    uniform -= probabilities[i];
    if (uniform < 0.0) break;
  }
  return static_cast<std::int32_t>(last);
}

}  // namespace

void SamplingOptions::check() const {
  if (!(temperature >= 0.0) || !std::isfinite(temperature)) {
    throw InputError(fmt::format("temperature is {}; allowed: >= 0", temperature));
  }
  if (top_k < 0) throw InputError(fmt::format("top-k is {}; allowed: >= 0 (0: all tokens)", top_k));
  if (!(top_p > 0.0 && top_p <= 1.0)) throw InputError(fmt::format("top-p is {}; allowed: > 0 and <= 1", top_p));
}

std::vector<double> next_token_probabilities(std::span<const double> logits, const SamplingOptions& options) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const bool filtered = options.temperature == 0.0 || options.top_k > 0 || options.top_p < 1.0;
  if (filtered) std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return logits[i]; });

  std::vector<double> p(logits.size(), 0.0);
  if (options.temperature == 0.0) {
    p[order[0]] = 1.0;
    return p;
  }
  std::size_t kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  const double largest = *std::ranges::max_element(logits);
  for (std::size_t i = 0; i < kept; ++i) p[order[i]] = std::exp((logits[order[i]] - largest) / options.temperature);
  normalise(p);
  if (options.top_p < 1.0) {
    double reached = 0.0;
    for (std::size_t i = 0; i < kept; ++i) {
      if (reached >= options.top_p) p[order[i]] = 0.0;
      reached += p[order[i]];
    }
    normalise(p);
  }
  return p;
}

void generate(nn::Model& model, const nn::ParameterStore& store, const std::vector<std::int32_t>& prompt,
              std::int64_t count, const SamplingOptions& options, const std::function<void(std::int32_t)>& emit) {
  options.check();
  require(!prompt.empty(), "[generate] the prompt is empty");
  const autograd::Tape::Pause pause;
  model.eval();
  const nn::CacheContext one{
      .dtype = store.copies().defined() ? store.copies().dtype() : store.values().dtype(),
      .device = store.values().device(),
  };
  const auto window = static_cast<std::size_t>(model.context());
  RandomSequence random(options.seed, sampling_stream);

  std::unique_ptr<nn::Cache> cache = model.make_cache(one);
  const std::optional<std::int64_t> limit = cache == nullptr ? model.context() : model.cache_capacity();
  // The last tokens, `seen` of them in the cache: those that a cache with a limit may have to be filled with again, or
  // those that one without a limit has yet to receive.
  std::vector<std::int32_t> tokens = prompt;
  std::size_t seen = 0;
  const auto keep_last = [&](std::size_t n) {
    tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(std::min(n, tokens.size())));
    seen = 0;
  };
  if (limit) keep_last(static_cast<std::size_t>(*limit));
  const auto ids = [&](std::size_t begin, std::size_t end) {
    return Tensor::from(std::span(tokens).subspan(begin, end - begin), {1, static_cast<std::int64_t>(end - begin)},
                        one.device);
  };
  for (std::int64_t i = 0; i < count; ++i) {
    // A full cache slides: positions are absolute, so what is kept, the last half, is encoded anew.
    if (limit && tokens.size() > static_cast<std::size_t>(*limit)) {
      cache = model.make_cache(one);
      keep_last(std::max<std::size_t>(1, static_cast<std::size_t>(*limit) / 2));
    }
    std::vector<double> logits;
    if (cache == nullptr) logits = model.next_logits(ids(0, tokens.size())).value().values();
    while (cache != nullptr && seen < tokens.size()) {
      const std::size_t end = std::min(tokens.size(), seen + window);
      logits = model.next_logits(ids(seen, end), *cache).value().values();
      seen = end;
    }
    if (!limit) keep_last(0);
    tokens.push_back(draw(next_token_probabilities(logits, options), random.uniform()));
    emit(tokens.back());
  }
}

std::vector<std::int32_t> generate(nn::Model& model, const nn::ParameterStore& store,
                                   const std::vector<std::int32_t>& prompt, std::int64_t count,
                                   const SamplingOptions& options) {
  std::vector<std::int32_t> tokens;
  generate(model, store, prompt, count, options, [&](std::int32_t token) { tokens.push_back(token); });
  return tokens;
}

std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, const std::string& prompt) {
  if (!prompt.empty()) return tokenizer.encode(prompt);
  try {
    return tokenizer.encode("\n");
  } catch (const InputError&) {
    return {0};
  }
}

}  // namespace monge::train
