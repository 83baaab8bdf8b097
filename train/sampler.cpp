#include "train/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/random.h"
#include "core/random_streams.h"
#include "train/batches.h"
#include "train/data/pair_layout.h"

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

void generate(nn::Model& model, const nn::ParameterStore& store, const Prompt& prompt, std::int64_t count,
              const SamplingOptions& options, const std::function<void(std::int32_t)>& emit) {
  options.check();
  require(!prompt.tokens.empty(), "[generate] the prompt is empty");
  const autograd::Tape::Pause pause;
  model.eval();
  const nn::CacheContext one{
      .dtype = store.copies().defined() ? store.copies().dtype() : store.values().dtype(),
      .device = store.values().device(),
      .given = prompt.given,
  };
  const auto window = static_cast<std::size_t>(model.context());
  RandomSequence random(options.seed, sampling_stream);

  std::unique_ptr<nn::Cache> cache = model.make_cache(one);
  const std::optional<std::int64_t> limit = cache == nullptr ? model.context() : model.cache_capacity();
  // The last tokens, `seen` of them in the cache: those that a cache with a limit may have to be filled with again, or
  // those that one without a limit has yet to receive.
  std::vector<std::int32_t> tokens = prompt.tokens;
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
  bool stopped = false;
  for (std::int64_t i = 0; i < count && !stopped; ++i) {
    // A full cache slides: positions are absolute, so what is kept, the last half, is encoded anew.
    if (limit && tokens.size() > static_cast<std::size_t>(*limit)) {
      cache = model.make_cache(one);
      keep_last(std::max<std::size_t>(1, static_cast<std::size_t>(*limit) / 2));
    }
    std::vector<double> logits;
    if (cache == nullptr) {
      nn::Batch batch = prompt.given;
      batch.add("tokens", ids(0, tokens.size()));
      logits = model.next_logits(batch).value().values();
    }
    while (cache != nullptr && seen < tokens.size()) {
      const std::size_t end = std::min(tokens.size(), seen + window);
      logits = model.next_logits(ids(seen, end), *cache).value().values();
      seen = end;
    }
    if (!limit) keep_last(0);
    tokens.push_back(draw(next_token_probabilities(logits, options), random.uniform()));
    stopped = tokens.back() == prompt.stop;
    emit(tokens.back());
  }
}

std::vector<std::int32_t> generate(nn::Model& model, const nn::ParameterStore& store, const Prompt& prompt,
                                   std::int64_t count, const SamplingOptions& options) {
  std::vector<std::int32_t> tokens;
  generate(model, store, prompt, count, options, [&](std::int32_t token) { tokens.push_back(token); });
  return tokens;
}

namespace {

/// `rows` copies of a sequence (1, n).
Tensor repeated(const Tensor& one, std::int64_t rows) {
  const Tensor out = Tensor::empty({rows, one.size(1)}, one.dtype(), one.device());
  for (std::int64_t row = 0; row < rows; ++row) out.backend().copy({.from = one, .to = out.slice(row, row + 1)});
  return out;
}

/// log softmax, in place.
void to_log_probabilities(std::span<double> logits) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const double z : logits) sum += std::exp(z - largest);
  for (double& z : logits) z -= largest + std::log(sum);
}

}  // namespace

std::vector<Hypothesis> beam_search(nn::Model& model, const nn::ParameterStore& store, const Prompt& prompt,
                                    std::int64_t count, std::int64_t beams) {
  require(!prompt.tokens.empty() && beams >= 1, "[beam_search] {} tokens and {} beams", prompt.tokens.size(), beams);
  constexpr std::int64_t most_beams = 1000;
  if (beams > most_beams) throw InputError(fmt::format("beams is {}; allowed: 1 .. {}", beams, most_beams));
  const std::int64_t length = std::ssize(prompt.tokens) + count;
  if (length > model.context() + 1) {
    throw InputError(fmt::format("{} tokens after a prompt of {} exceed the model's context of {}; allowed: {} tokens",
                                 count, prompt.tokens.size(), model.context(),
                                 std::max<std::int64_t>(0, model.context() + 1 - std::ssize(prompt.tokens))));
  }
  const autograd::Tape::Pause pause;
  model.eval();
  const Device device = store.values().device();
  const auto ended = [&](const Hypothesis& h) { return !h.tokens.empty() && h.tokens.back() == prompt.stop; };

  std::vector<Hypothesis> best{{}};
  for (std::int64_t step = 0; step < count && !std::ranges::all_of(best, ended); ++step) {
    std::vector<Hypothesis> candidates;
    std::vector<const Hypothesis*> open;
    std::vector<std::int32_t> ids;
    for (const Hypothesis& h : best) {
      if (ended(h)) {
        candidates.push_back(h);
        continue;
      }
      open.push_back(&h);
      ids.insert(ids.end(), prompt.tokens.begin(), prompt.tokens.end());
      ids.insert(ids.end(), h.tokens.begin(), h.tokens.end());
    }
    const std::int64_t rows = std::ssize(open);
    nn::Batch batch;
    for (const auto& [name, one] : prompt.given) batch.add(name, repeated(one, rows));
    batch.add("tokens", Tensor::from(ids, {rows, std::ssize(ids) / rows}, device));
    std::vector<double> logits = model.next_logits(batch).value().values();
    const auto vocab = static_cast<std::size_t>(model.vocab());
    for (std::size_t row = 0; row < open.size(); ++row) {
      const std::span<double> scores = std::span(logits).subspan(row * vocab, vocab);
      to_log_probabilities(scores);
      std::vector<std::size_t> order(vocab);
      std::iota(order.begin(), order.end(), std::size_t{0});
      const auto kept = static_cast<std::ptrdiff_t>(std::min<std::size_t>(vocab, static_cast<std::size_t>(beams)));
      std::ranges::partial_sort(order, order.begin() + kept, std::greater{}, [&](std::size_t i) { return scores[i]; });
      for (std::ptrdiff_t i = 0; i < kept; ++i) {
        Hypothesis next = *open[row];
        next.tokens.push_back(static_cast<std::int32_t>(order[static_cast<std::size_t>(i)]));
        next.log_probability += scores[order[static_cast<std::size_t>(i)]];
        candidates.push_back(std::move(next));
      }
    }
    std::ranges::stable_sort(candidates, std::greater{}, &Hypothesis::log_probability);
    if (std::ssize(candidates) > beams) candidates.resize(static_cast<std::size_t>(beams));
    best = std::move(candidates);
  }
  return best;
}

Prompt make_prompt(const nn::Model& model, const Tokenizer& tokenizer, Device device, const std::string& text,
                   const std::optional<std::string>& source) {
  if (!model.predicts_tokens()) throw InputError("the model predicts no tokens, so there is nothing to sample");
  const std::int64_t longest = longest_source(model.batch_fields());
  if (longest > 0 && !source) throw InputError("the model reads a source; give one with --source TEXT");
  if (!source) {
    if (!text.empty()) {
      Prompt prompt{.tokens = tokenizer.encode(text)};
      if (prompt.tokens.empty()) throw InputError("--prompt becomes no token; give another text");
      return prompt;
    }
    try {
      return {.tokens = {mark_token(tokenizer, '\n')}};
    } catch (const InputError&) {
      return {.tokens = {0}};
    }
  }
  for (const auto& [name, given] : {std::pair{"--source", &*source}, {"--prompt", &text}}) {
    if (given->find_first_of("\t\n") == std::string::npos) continue;
    throw InputError(fmt::format("{} holds a tab or a line break, which end a source and a target", name));
  }
  std::vector<std::int32_t> tokens = tokenizer.encode(*source);
  if (tokens.empty()) throw InputError("--source is empty; allowed: one token or more");
  Prompt prompt{.stop = mark_token(tokenizer, '\n')};
  if (longest > 0) {
    const auto length = static_cast<std::int32_t>(tokens.size());
    if (length > longest) {
      throw InputError(
          fmt::format("--source has {} tokens; allowed: {} (model.source_context)", tokens.size(), longest));
    }
    prompt.given.add("source", Tensor::from(tokens, {1, length}, device));
    prompt.given.add("source_segment", Tensor::zeros({1, length}, DType::i32, device));
    prompt.tokens = {*prompt.stop};
  } else {
    prompt.tokens = std::move(tokens);
    prompt.tokens.push_back(mark_token(tokenizer, '\t'));
  }
  const std::vector<std::int32_t> begun = tokenizer.encode(text);
  prompt.tokens.insert(prompt.tokens.end(), begun.begin(), begun.end());
  if (std::ssize(prompt.tokens) > model.context()) {
    throw InputError(fmt::format("{} has {} tokens with its marks; allowed: {} (model.context)",
                                 longest > 0 ? "--prompt" : "--source with --prompt", prompt.tokens.size(),
                                 model.context()));
  }
  return prompt;
}

RunSample run_sample(const Dataset& dataset, const nn::Model& model, Device device, const std::string& text) {
  const Tokenizer& tokenizer = dataset.tokenizer();
  const std::vector<nn::BatchField> fields = model.batch_fields();
  if (longest_source(fields) == 0) {
    const Prompt prompt = make_prompt(model, tokenizer, device, text);
    return {prompt, tokenizer.decode(prompt.tokens)};
  }
  std::string source = text;
  if (source.empty()) {
    const HostBatch window =
        make_batch(fields, 1, [&](std::int64_t, const Row& out) { dataset.validation_window(0, out); });
    std::vector<std::int32_t> ids = window["source"];
    ids.resize(first_source(window));
    source = tokenizer.decode(ids);
  }
  return {make_prompt(model, tokenizer, device, "", source), source + "\t"};
}

}  // namespace monge::train
