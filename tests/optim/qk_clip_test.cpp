// QK-Clip against scores in plain dense loops.
#include <gtest/gtest.h>

#include <map>

#include "core/options/yaml.h"
#include "nn/encoder_decoder.h"
#include "nn/gpt.h"
#include "optim/attention/attention_update.h"
#include "optim/optimizer.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/spans.h"

namespace monge::optim {
namespace {

using test::reference;
using Values = std::vector<double>;

constexpr std::int64_t heads = 4, width = 8, tokens = 6, vocab = 11;

/// The largest score of each head in the calls that a layer makes, from its queries and keys.
struct Largest : nn::AttentionObserver {
  Values score;

  void observe(const nn::AttentionCall& call) override {
    const kernel::Attention& a = call.args;
    score.resize(static_cast<std::size_t>(a.heads), -1e300);
    const Values q = a.q.data.values(), k = a.k.data.values();
    const kernel::SpanReader spans(a);
    const auto at = [&](const HeadView& view, const Values& values, std::int64_t b, std::int64_t t, std::int64_t h) {
      return values.begin() + b * view.batch_stride + t * view.token_stride + view.offset + h * a.head_dim;
    };
    for (std::int64_t b = 0; b < a.batch; ++b) {
      for (std::int64_t h = 0; h < a.heads; ++h) {
        for (std::int64_t i = 0; i < a.queries; ++i) {
          const kernel::KeySpan seen = spans.at(b, i);
          for (std::int64_t j = seen.begin; j < seen.end; ++j) {
            const auto x = at(a.q, q, b, i, h), y = at(a.k, k, b, j, h / (a.heads / a.kv_heads));
            double& largest = score[static_cast<std::size_t>(h)];
            largest = std::max(largest, a.scale * std::inner_product(x, x + a.head_dim, y, 0.0));
          }
        }
      }
    }
  }
};

OptimizerOptions read(const std::string& yaml) {
  OptimizerOptions o;
  o.clip_norm = 0.0;
  o.schedule = schedules().choose("constant");
  read_yaml_text("{" + yaml + "}", "test", {}, o);
  return o;
}

/// A model whose parameters are N(0, 1), step by step.
template <class Model>
class Steps {
 public:
  template <class Options>
  Steps(const std::string& yaml, const Options& options)
      : model_(options, vocab),
        store_(model_, reference, nn::Precision::float32, 1),
        optimizer_(read(yaml), model_, store_, 100) {
    store_.values().backend().normal({.x = store_.values(), .random = {.seed = 5, .stream = 3}});
    for (const AttentionLayer& at : attention_layers(model_)) at.layer->add_observer(largest[at.name]);
  }
  ~Steps() {
    for (const AttentionLayer& at : attention_layers(model_)) at.layer->remove_observer(largest[at.name]);
  }

  void step(const std::vector<nn::Batch>& passes) {
    for (auto& [name, seen] : largest) seen.score.clear();
    optimizer_.begin(++steps_);
    store_.clear_grads();
    for (const nn::Batch& batch : passes) {
      autograd::Tape tape;
      autograd::Var loss;
      {
        const autograd::Tape::Recording recording(tape);
        loss = model_.loss(batch);
      }
      tape.backward(loss);
    }
    store_.complete_grads();
    optimizer_.step(steps_);
  }
  Values value(const std::string& name) const { return store_.value(store_.entry(name)).values(); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& e : store_.entries()) out.push_back(e.name);
    return out;
  }

  std::map<std::string, Largest> largest;  // scores of the last step

 private:
  Model model_;
  nn::ParameterStore store_;
  Optimizer optimizer_;
  std::int64_t steps_ = 0;
};

nn::GptOptions gpt_options(const std::string& yaml) {
  nn::GptOptions o;
  o.layers = 2;
  o.heads = heads;
  o.width = width;
  o.context = tokens;
  read_yaml_text(yaml, "test", {}, o);
  return o;
}

nn::Batch batch(std::uint64_t seed) {
  return {{"tokens", test::random_ids({3, tokens}, vocab, seed)},
          {"targets", test::random_ids({3, tokens}, vocab, seed + 1)}};
}

/// Multiplies the rows of head `first` + h by factor[h]; `row` is the length of a row.
void scale_rows(Values& w, std::int64_t row, std::int64_t first, const Values& factor) {
  const std::int64_t size = width / heads * row;
  for (std::size_t h = 0; h < factor.size(); ++h) {
    for (std::int64_t i = 0; i < size; ++i) {
      w[static_cast<std::size_t>((first + static_cast<std::int64_t>(h)) * size + i)] *= factor[h];
    }
  }
}

/// g_h, and how many are below 1.
Values factors(const Values& scores, double tau, int& clipped) {
  Values out;
  for (const double s : scores) {
    out.push_back(s > tau ? tau / s : 1.0);
    clipped += s > tau ? 1 : 0;
  }
  return out;
}

// Beside the same steps without it. A tau that about half of the heads exceed, the largest of two passes counts, and
// priors do not.
TEST(QkClip, ScalesHeadsBySquareRoots) {
  for (const char* model :
       {"{bias: true}", "{position: rope}", "{position: alibi}", "{attention: {kind: sigmoid, bias: 300}}"}) {
    SCOPED_TRACE(model);
    const nn::GptOptions options = gpt_options(model);
    const std::string rule = "name: sgd, lr: 0.01, momentum: 0.9";
    Steps<nn::Gpt> plain(rule, options), clipped(rule + ", chain: [{kind: qk_clip, tau: 9}]", options);
    plain.step({batch(1), batch(3)});
    clipped.step({batch(1), batch(3)});
    int below = 0, all = 0;
    for (const std::string& name : plain.names()) {
      const std::size_t end = name.find(".qkv.");
      Values expected = plain.value(name);
      if (end != std::string::npos) {
        const Values scores = clipped.largest.at(name.substr(0, end)).score;
        Values g = factors(scores, 9.0, below);
        all += static_cast<int>(g.size());
        for (double& x : g) x = std::sqrt(x);
        const std::int64_t row = name.ends_with("weight") ? width : 1;
        scale_rows(expected, row, 0, g);
        scale_rows(expected, row, heads, g);
      }
      EXPECT_TRUE(test::close(clipped.value(name), expected, 2e-4)) << name;
      if (end == std::string::npos) {
        EXPECT_EQ(clipped.value(name), expected) << name;
      }
    }
    EXPECT_GT(below, 0);
    EXPECT_LT(below, all);
  }
}

TEST(QkClip, LeavesSharedKeysAlone) {
  const nn::GptOptions options = gpt_options("{kv_heads: 2}");
  Steps<nn::Gpt> plain("name: sgd, lr: 0.01", options),
      clipped("name: sgd, lr: 0.01, chain: [{kind: qk_clip, tau: 6}]", options);
  plain.step({batch(1)});
  clipped.step({batch(1)});
  int below = 0;
  for (const std::string layer : {"blocks.0.attention", "blocks.1.attention"}) {
    Values expected = plain.value(layer + ".qkv.weight");
    scale_rows(expected, width, 0, factors(clipped.largest.at(layer).score, 6.0, below));
    EXPECT_TRUE(test::close(clipped.value(layer + ".qkv.weight"), expected, 2e-4)) << layer;
  }
  EXPECT_GT(below, 0);
  EXPECT_LT(below, 2 * heads);
}

// At a rate of 0 the same batch then has scores of tau at most; a second clip finds nothing to do.
TEST(QkClip, BringsTheLargestScoreDownToTheLimit) {
  for (const char* model : {"{}", "{kv_heads: 1}", "{bias: true, position: rope}"}) {
    nn::GptOptions options = gpt_options(model);
    options.layers = 1;  // another layer would read other inputs
    Steps<nn::Gpt> run("name: sgd, lr: 0, chain: [{kind: qk_clip, tau: 4}]", options);
    run.step({batch(1)});
    const Values before = run.largest.begin()->second.score, once = run.value("blocks.0.attention.qkv.weight");
    run.step({batch(1)});
    const Values after = run.largest.begin()->second.score;
    for (std::size_t h = 0; h < before.size(); ++h) {
      EXPECT_NEAR(after[h], std::min(before[h], 4.0), 0.004) << model << " " << h;  // ln(6) / 1024 = 0.0017 of 4
    }
    EXPECT_TRUE(test::close(run.value("blocks.0.attention.qkv.weight"), once, 1e-3)) << model;
  }
}

TEST(QkClip, TakesPaddedSourcesAndDecodersThatReadThem) {
  nn::EncoderDecoderOptions o;
  o.layers = 1;
  o.heads = heads;
  o.width = width;
  o.context = tokens;
  const std::string rule = "name: sgd, lr: 0";
  Steps<nn::EncoderDecoder> run(rule + ", chain: [{kind: qk_clip, tau: 5}]", o), plain(rule, o);
  nn::Batch pairs = batch(1);
  pairs.add("source", test::random_ids({3, tokens}, vocab, 7));
  pairs.add("source_segment", test::padding_segments({2, 6, 3}, tokens, reference));
  run.step({pairs});
  plain.step({pairs});
  int below = 0;
  EXPECT_EQ(run.largest.size(), 3u);
  for (const auto& [layer, seen] : run.largest) {
    Values g = factors(seen.score, 5.0, below);
    for (double& x : g) x = std::sqrt(x);
    const bool crosses = layer.find("cross") != std::string::npos;
    const std::string q = layer + (crosses ? ".q.weight" : ".qkv.weight"),
                      k = layer + (crosses ? ".kv.weight" : ".qkv.weight");
    Values queries = plain.value(q), keys = plain.value(k);
    scale_rows(queries, width, 0, g);
    scale_rows(crosses ? keys : queries, width, crosses ? 0 : heads, g);
    EXPECT_TRUE(test::close(run.value(q), queries, 2e-4)) << q;
    if (crosses) {
      EXPECT_TRUE(test::close(run.value(k), keys, 2e-4)) << k;
    }
  }
  EXPECT_GT(below, 0);
}

// Two observers of a layer.
TEST(QkClip, GoesWithTheFisher) {
  const nn::GptOptions options = gpt_options("{}");
  const std::string rule = "name: adamw, lr: 0.01, attention: {update: fisher, every: 1}";
  Steps<nn::Gpt> plain(rule, options), idle(rule + ", chain: [{kind: qk_clip, tau: 1.0e+6}]", options);
  for (int t = 1; t <= 3; ++t) {
    plain.step({batch(1)});
    idle.step({batch(1)});
  }
  for (const std::string& name : plain.names())
    EXPECT_TRUE(test::close(idle.value(name), plain.value(name), 1e-12)) << name;
}

TEST(QkClip, WantsScoresThatDependOnTheSizeOfTheWeights) {
  EXPECT_HAS(error_of([] {
               Steps<nn::Gpt>("name: adamw, chain: [{kind: qk_clip}]",
                              gpt_options("{attention: {kind: softmax, qk_norm: true}}"));
             }),
             "qk_norm");
  EXPECT_HAS(error_of([] {
               Steps<nn::Gpt>("name: adamw, chain: [{kind: qk_clip}]",
                              gpt_options("{attention: aaren, position: none}"));
             }),
             "no attention of this model projects queries");
  EXPECT_HAS(error_of([] { Steps<nn::Gpt>("name: schedule_free, chain: [{kind: qk_clip}]", gpt_options("{}")); }),
             "allowed with it: mars");
}

}  // namespace
}  // namespace monge::optim
