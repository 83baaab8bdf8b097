#include "train/sampler.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "nn/cache_check.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"

namespace monge::train {
namespace {

struct SmallModel {
  explicit SmallModel(const std::vector<std::string>& overrides = {}, std::int64_t vocab = 11)
      : config(test::tiny_config(overrides)),
        made(nn::models().make(config.model, vocab)),
        model(*made),
        store(model, parse_device(config.device), precision_of(config), 3, /*trainable=*/false) {
    // Initial weights give nearly equal logits: make them differ.
    store.values().backend().scale({.x = store.values(), .factor = 20.0, .out = store.values()});
    store.refresh_copies();
  }
  Config config;
  std::unique_ptr<nn::Model> made;
  nn::Model& model;
  nn::ParameterStore store;
};

/// Logits (V) after `tokens`, without a cache.
std::vector<double> logits_after(SmallModel& m, const std::vector<std::int32_t>& tokens) {
  const autograd::Tape::Pause pause;
  m.model.eval();
  const Tensor ids = Tensor::from(tokens, {1, static_cast<std::int64_t>(tokens.size())}, m.store.values().device());
  const std::vector<double> all = m.model.logits({{"tokens", ids}}).value().values();
  return {all.end() - m.model.vocab(), all.end()};
}

/// The filters by their definition: who has too many better ones, who comes after the mass is reached.
std::vector<double> brute_force(const std::vector<double>& logits, const SamplingOptions& o) {
  const std::size_t V = logits.size();
  const auto better = [&](std::size_t a, std::size_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  std::vector<double> p(V);
  double sum = 0.0;
  for (std::size_t i = 0; i < V; ++i) {
    std::int64_t ahead = 0;
    for (std::size_t j = 0; j < V; ++j) ahead += better(j, i);
    p[i] = o.top_k == 0 || ahead < o.top_k ? std::exp(logits[i] / o.temperature) : 0.0;
    sum += p[i];
  }
  for (double& x : p) x /= sum;
  std::vector<double> kept(V, 0.0);
  sum = 0.0;
  for (std::size_t i = 0; i < V; ++i) {
    double ahead = 0.0;
    for (std::size_t j = 0; j < V; ++j) ahead += better(j, i) ? p[j] : 0.0;
    if (o.top_p == 1.0 || ahead < o.top_p) kept[i] = p[i];
    sum += kept[i];
  }
  for (double& x : kept) x /= sum;
  return kept;
}

TEST(NextTokenProbabilities, AgreeWithTheDefinition) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<double> logits = test::random_values(17, seed, 0.0, 2.0);
    logits[5] = logits[3];  // a tie
    for (const double temperature : {0.5, 1.0, 3.0}) {
      for (const std::int64_t k : {0, 1, 4, 17, 40}) {
        for (const double p : {0.05, 0.5, 0.9, 1.0}) {
          const SamplingOptions options{.temperature = temperature, .top_k = k, .top_p = p};
          const auto expected = brute_force(logits, options);
          const auto got = next_token_probabilities(logits, options);
          for (std::size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-12);
        }
      }
    }
  }
}

TEST(NextTokenProbabilities, TemperatureZeroTakesTheFirstBest) {
  const auto p = next_token_probabilities(std::vector<double>{0.0, 3.0, 3.0}, {.temperature = 0.0});
  EXPECT_EQ(p, (std::vector<double>{0.0, 1.0, 0.0}));
}

TEST(NextTokenProbabilities, HugeLogitsDoNotOverflow) {
  const auto p = next_token_probabilities(std::vector<double>{1e5, 1e5, -1e5}, {});
  EXPECT_DOUBLE_EQ(p[0], 0.5);
  EXPECT_DOUBLE_EQ(p[2], 0.0);
}

TEST(SamplingOptions, OutOfRangeIsRefused) {
  EXPECT_THROW((SamplingOptions{.temperature = -1.0}).check(), InputError);
  EXPECT_THROW((SamplingOptions{.temperature = NAN}).check(), InputError);
  EXPECT_THROW((SamplingOptions{.top_k = -1}).check(), InputError);
  EXPECT_THROW((SamplingOptions{.top_p = 0.0}).check(), InputError);
  EXPECT_THROW((SamplingOptions{.top_p = 1.5}).check(), InputError);
  EXPECT_NO_THROW(SamplingOptions{}.check());
}

class CachedLogits : public testing::TestWithParam<const char*> {};

TEST_P(CachedLogits, EqualThoseWithoutACache) {
  for (const char* device : {"device=cpu", "device=reference"}) {
    SmallModel m({device, std::string("model.position=") + GetParam(), "model.kv_heads=1"});
    const Tensor tokens =
        Tensor::from(std::vector<std::int32_t>{1, 5, 2, 10, 0, 7, 7, 3}, {1, 8}, m.store.values().device());
    const nn::CacheCheck check = nn::cache_check(m.model, tokens, m.store.values().dtype());
    EXPECT_TRUE(check.ok) << device << ": " << check.message;
  }
}
INSTANTIATE_TEST_SUITE_P(Positions, CachedLogits, testing::Values("learned", "rope", "alibi", "none"));

TEST(Generate, GreedyFollowsTheUncachedModelPastTheContext) {
  SmallModel m({"device=reference"});
  const std::vector<std::int32_t> prompt{4, 1, 9};
  const auto got = generate(m.model, m.store, {.tokens = prompt}, 30, {.temperature = 0.0});
  std::vector<std::int32_t> window = prompt;
  for (const std::int32_t token : got) {
    if (window.size() > 8) window.erase(window.begin(), window.end() - 4);  // context 8: half of it stays
    const auto logits = logits_after(m, window);
    EXPECT_EQ(token, std::ranges::max_element(logits) - logits.begin());
    window.push_back(token);
  }
}

// What is remembered of the tokens before does not end with the context, in a sample as in a prompt.
TEST(Generate, ARecurrentModelForgetsNothing) {
  const std::vector<std::string> recurrent{"device=reference", "model.attention=aaren", "model.position=none"};
  std::vector<std::string> longer = recurrent;
  longer.emplace_back("model.context=64");
  SmallModel few(recurrent), many(longer);
  ASSERT_EQ(few.model.context(), 8);
  for (const std::vector<std::int32_t>& prompt :
       {std::vector<std::int32_t>{4, 1, 9}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0}}) {
    const auto got = generate(few.model, few.store, {.tokens = prompt}, 30, {});
    EXPECT_EQ(got, generate(many.model, many.store, {.tokens = prompt}, 30, {}));
    std::vector<std::int32_t> all = prompt;
    all.insert(all.end(), got.begin(), got.end() - 1);
    const auto greedy = generate(few.model, few.store, {.tokens = all}, 1, {.temperature = 0.0});
    const auto logits = logits_after(many, all);
    EXPECT_EQ(greedy[0], std::ranges::max_element(logits) - logits.begin());
  }
}

TEST(Generate, SameSeedSameText) {
  SmallModel m;
  const SamplingOptions seven{.temperature = 1.0, .seed = 7}, eight{.temperature = 1.0, .seed = 8};
  const auto first = generate(m.model, m.store, {.tokens = {0}}, 40, seven);
  EXPECT_EQ(generate(m.model, m.store, {.tokens = {0}}, 40, seven), first);
  EXPECT_NE(generate(m.model, m.store, {.tokens = {0}}, 40, eight), first);
  EXPECT_EQ(first.size(), 40u);
}

TEST(Generate, DrawsWithTheModelsProbabilities) {
  SmallModel m({}, 4);
  const auto p = next_token_probabilities(logits_after(m, {2}), {});
  std::vector<double> counts(4, 0.0);
  constexpr int draws = 3000;
  for (std::uint64_t seed = 0; seed < draws; ++seed) {
    ++counts[static_cast<std::size_t>(generate(m.model, m.store, {.tokens = {2}}, 1, {.seed = seed})[0])];
  }
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(counts[i] / draws, p[i], 5.0 * std::sqrt(p[i] * (1.0 - p[i]) / draws) + 1e-9);
  }
}

TEST(Generate, TakesPromptsLongerThanTheContext) {
  SmallModel m({"device=reference"});
  const std::vector<std::int32_t> prompt{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1};
  const auto got = generate(m.model, m.store, {.tokens = prompt}, 1, {.temperature = 0.0});
  const auto logits = logits_after(m, {prompt.end() - 8, prompt.end()});
  EXPECT_EQ(got[0], std::ranges::max_element(logits) - logits.begin());
}

constexpr const char* pairs_model =
    "model={kind: encoder_decoder, layers: 1, heads: 2, width: 16, context: 4, source_context: 3}";

Prompt pair_prompt(Device device) {
  return {.tokens = {0},
          .given = {{"source", Tensor::from(std::vector<std::int32_t>{2, 1}, {1, 2}, device)},
                    {"source_segment", Tensor::zeros({1, 2}, DType::i32, device)}},
          .stop = 0};
}

/// Log-probabilities (V) of the token after `tokens`.
std::vector<double> log_probabilities_after(SmallModel& m, const Prompt& prompt,
                                            const std::vector<std::int32_t>& tokens) {
  const autograd::Tape::Pause pause;
  m.model.eval();
  nn::Batch batch = prompt.given;
  batch.add("tokens", Tensor::from(tokens, {1, std::ssize(tokens)}, m.store.values().device()));
  const std::vector<double> all = m.model.logits(batch).value().values();
  std::vector<double> out(all.end() - m.model.vocab(), all.end());
  double mass = 0.0;
  for (const double z : out) mass += std::exp(z);
  for (double& z : out) z -= std::log(mass);
  return out;
}

/// All continuations of up to `count` tokens, the most probable first.
void enumerate(SmallModel& m, const Prompt& prompt, std::int64_t count, const Hypothesis& so_far,
               std::vector<Hypothesis>& out) {
  if (std::ssize(so_far.tokens) == count || (!so_far.tokens.empty() && so_far.tokens.back() == prompt.stop)) {
    out.push_back(so_far);
    return;
  }
  std::vector<std::int32_t> tokens = prompt.tokens;
  tokens.insert(tokens.end(), so_far.tokens.begin(), so_far.tokens.end());
  const auto log_p = log_probabilities_after(m, prompt, tokens);
  for (std::size_t v = 0; v < log_p.size(); ++v) {
    Hypothesis next = so_far;
    next.tokens.push_back(static_cast<std::int32_t>(v));
    next.log_probability += log_p[v];
    enumerate(m, prompt, count, next, out);
  }
}

TEST(BeamSearch, ManyBeamsFindTheMostProbableOfAllContinuations) {
  SmallModel m({"device=reference", pairs_model}, 4);
  const Prompt prompt = pair_prompt(test::reference);
  std::vector<Hypothesis> all;
  enumerate(m, prompt, 3, {}, all);
  std::ranges::sort(all, std::greater{}, &Hypothesis::log_probability);
  ASSERT_EQ(all.size(), 1u + 3 + 9 * 4);
  const auto got = beam_search(m.model, m.store, prompt, 3, 100);
  ASSERT_EQ(got.size(), all.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i].log_probability, all[i].log_probability, 1e-12);
    EXPECT_EQ(got[i].tokens, all[i].tokens) << i;
  }
}

TEST(BeamSearch, OneBeamIsGreedy) {
  SmallModel m({"device=reference", pairs_model}, 4);
  const Prompt prompt = pair_prompt(test::reference);
  EXPECT_EQ(beam_search(m.model, m.store, prompt, 4, 1).front().tokens,
            generate(m.model, m.store, prompt, 4, {.temperature = 0.0}));
  EXPECT_HAS(error_of([&] { beam_search(m.model, m.store, prompt, 5, 1); }),
             "5 tokens after a prompt of 1 exceed the model's context of 4; allowed: 4 tokens");
}

TEST(Generate, StopsAfterTheStopToken) {
  SmallModel m({"device=reference", pairs_model}, 4);
  Prompt prompt = pair_prompt(test::reference);
  const auto free = generate(m.model, m.store, {.tokens = prompt.tokens, .given = prompt.given}, 40, {.seed = 5});
  ASSERT_EQ(free.size(), 40u);
  prompt.stop = free[2];
  const auto stopped = generate(m.model, m.store, prompt, 40, {.seed = 5});
  const auto first = std::ranges::find(free, free[2]) - free.begin();
  EXPECT_EQ(stopped, std::vector<std::int32_t>(free.begin(), free.begin() + first + 1));
}

TEST(MakePrompt, ASourceIsReadApartOrInFrontOfATab) {
  const auto letters = load_tokenizer(R"({"kind": "char", "vocabulary": "\n\tab"})");
  SmallModel apart({pairs_model}, 4), together({}, 4);
  const Prompt pair = make_prompt(apart.model, *letters, test::cpu, "b", "aab");
  EXPECT_EQ(pair.tokens, (std::vector<std::int32_t>{0, 3}));
  EXPECT_EQ(pair.given["source"].values(), (std::vector<double>{2, 2, 3}));
  EXPECT_EQ(pair.given["source_segment"].values(), std::vector<double>(3, 0.0));
  EXPECT_EQ(pair.stop, 0);
  const Prompt line = make_prompt(together.model, *letters, test::cpu, "b", "aab");
  EXPECT_EQ(line.tokens, (std::vector<std::int32_t>{2, 2, 3, 1, 3}));
  EXPECT_EQ(line.stop, 0);
  EXPECT_HAS(error_of([&] { make_prompt(apart.model, *letters, test::cpu, ""); }), "the model reads a source");
  EXPECT_HAS(error_of([&] { make_prompt(apart.model, *letters, test::cpu, "", ""); }), "--source is empty");
  EXPECT_HAS(error_of([&] { make_prompt(apart.model, *letters, test::cpu, "", "abab"); }),
             "--source has 4 tokens; allowed: 3 (model.source_context)");
}

TEST(MakePrompt, WithoutTextItIsALineBreakOrTokenZero) {
  SmallModel m;
  const auto byte = tokenizers().make(tokenizers().choose("byte"), "");
  EXPECT_EQ(make_prompt(m.model, *byte, test::cpu, "").tokens, (std::vector<std::int32_t>{'\n'}));
  EXPECT_EQ(make_prompt(m.model, *byte, test::cpu, "ab").tokens, (std::vector<std::int32_t>{'a', 'b'}));
  const auto letters = tokenizers().make(tokenizers().choose("char"), "xyz");
  EXPECT_EQ(make_prompt(m.model, *letters, test::cpu, "").tokens, (std::vector<std::int32_t>{0}));
}

}  // namespace
}  // namespace monge::train
