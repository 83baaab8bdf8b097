// What holds for every update of W_q and W_k: it changes nothing else, composes with any rule and keeps the norm of its
// step.
#include "optim/attention/attention_update.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/options/yaml.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "support/compare.h"
#include "support/expect_error.h"

namespace monge::optim {
namespace {

using test::reference;
using Vector = std::vector<double>;

constexpr std::int64_t heads = 2, kv_heads = 1, head_dim = 4, width = 8;

nn::GptOptions options() {
  nn::GptOptions o;
  o.layers = 2;
  o.heads = heads;
  o.kv_heads = kv_heads;
  o.width = width;
  o.context = 6;
  return o;
}

/// The parameters before and after one step of a small Gpt, by name.
struct Change {
  std::map<std::string, Vector> before, after;

  /// after - (1 - decay) before, of elements [begin, end).
  Vector step(const std::string& name, double decay = 0.0, std::size_t begin = 0, std::size_t end = 0) const {
    const Vector &old = before.at(name), &now = after.at(name);
    Vector out;
    for (std::size_t i = begin; i < (end > 0 ? end : old.size()); ++i) out.push_back(now[i] - (1.0 - decay) * old[i]);
    return out;
  }
};

void gradients_of_first_step(nn::Gpt& model, nn::ParameterStore& store, Optimizer& optimizer) {
  optimizer.begin(1);
  store.clear_grads();
  autograd::Tape tape;
  autograd::Var loss;
  {
    const autograd::Tape::Recording recording(tape);
    loss = model.loss(test::random_ids({3, 6}, 11, 2), test::random_ids({3, 6}, 11, 3));
  }
  tape.backward(loss);
  store.complete_grads();
}

Change one_step(const std::string& yaml) {
  nn::Gpt model(options(), 11);
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  OptimizerOptions o;
  read_yaml_text("{lr: 0.01, schedule: constant, clip_norm: 0, " + yaml + "}", "test", {}, o);
  Optimizer optimizer(o, model, store, 10);
  const auto values = [&] {
    std::map<std::string, Vector> out;
    for (const auto& e : store.entries()) out[e.name] = store.value(e).values();
    return out;
  };
  Change change{.before = values(), .after = {}};
  gradients_of_first_step(model, store, optimizer);
  optimizer.step(1);
  change.after = values();
  return change;
}

double norm(const Vector& x) {
  double squares = 0.0;
  for (const double v : x) squares += v * v;
  return std::sqrt(squares);
}

const std::string projection = "blocks.0.attention.qkv.weight";
constexpr std::size_t queries_end = heads * head_dim * width, keys_end = (heads + kv_heads) * head_dim * width;

class OverARule : public testing::TestWithParam<const char*> {};

TEST_P(OverARule, OnlyQueriesAndKeysMoveInAnotherWay) {
  const std::string rule = GetParam();
  const Change plain = one_step(rule);
  for (const char* update : {"row", "fisher", "fisher_cg", "{update: scaled, factor: 3}"}) {
    SCOPED_TRACE(update);
    const Change other = one_step(rule + ", attention: " + update);
    for (const auto& [name, value] : plain.after) {
      if (name.find("qkv") != std::string::npos) continue;
      EXPECT_EQ(other.after.at(name), value) << name;
    }
    const Vector &now = other.after.at(projection), &then = plain.after.at(projection);
    EXPECT_TRUE(std::equal(now.begin() + keys_end, now.end(), then.begin() + keys_end)) << "W_v";
    EXPECT_FALSE(std::equal(now.begin(), now.begin() + keys_end, then.begin()));
  }
}

TEST_P(OverARule, LayersThatDoNotMatchAreLeftToTheRule) {
  const std::string rule = GetParam();
  const Change plain = one_step(rule);
  for (const std::string update : {"row", "fisher", "fisher_cg", "scaled, factor: 3"}) {
    SCOPED_TRACE(update);
    const Change all = one_step(rule + ", attention: {update: " + update + "}");
    const Change one = one_step(rule + ", attention: {update: " + update + ", match: blocks.1.*}");
    for (const auto& [name, value] : one.after) {
      EXPECT_EQ(value, (name.starts_with("blocks.1.") ? all : plain).after.at(name)) << name;
    }
  }
  EXPECT_HAS(error_of([&] { one_step(rule + ", attention: {update: fisher, match: blocks.2.*}"); }),
             "no attention layer matches 'blocks.2.*'; there are blocks.0.attention, blocks.1.attention");
}

TEST_P(OverARule, AGraftedStepIsAMultipleOfTheRulesStepInLength) {
  const std::string rule = GetParam();
  const double decay = 0.01 * 0.3;
  const Change plain = one_step(rule + ", weight_decay: 0.3");
  for (const char* update : {"fisher", "fisher_cg"}) {
    const Change other = one_step(rule + ", weight_decay: 0.3, attention: {graft: 2.5, update: " + update + "}");
    for (const auto& [begin, end] : {std::pair{std::size_t{0}, queries_end}, std::pair{queries_end, keys_end}}) {
      EXPECT_NEAR(norm(other.step(projection, decay, begin, end)),
                  2.5 * norm(plain.step(projection, decay, begin, end)), 1e-12)
          << update;
    }
  }
}

TEST_P(OverARule, TheControlTakesAMultipleOfTheRulesStep) {
  const std::string rule = GetParam();
  Vector expected = one_step(rule).step(projection, 0.0, 0, keys_end);
  for (double& x : expected) x *= 4.0;
  const Change scaled = one_step(rule + ", attention: {update: scaled, factor: 4}");
  EXPECT_TRUE(test::close(scaled.step(projection, 0.0, 0, keys_end), expected, 1e-12));
}

INSTANTIATE_TEST_SUITE_P(Rules, OverARule, testing::Values("name: adamw", "name: sgd, momentum: 0.9"));

// What stands at the end of a step sees the step that W_q and W_k took in the end.
TEST(AttentionUpdate, TransformsEndTheStep) {
  for (const std::string update : {"fisher", "fisher_cg", "{update: scaled, factor: 3}"}) {
    SCOPED_TRACE(update);
    const std::string rule = "name: sgd, attention: " + update;
    const Change kept = one_step(rule + ", chain: [{kind: hyperball}]");
    for (const auto& [begin, end] : {std::pair{std::size_t{0}, queries_end}, std::pair{queries_end, keys_end}}) {
      const auto part = [&](const Vector& x) {
        return Vector(x.begin() + static_cast<std::ptrdiff_t>(begin), x.begin() + static_cast<std::ptrdiff_t>(end));
      };
      EXPECT_NEAR(norm(part(kept.after.at(projection))), norm(part(kept.before.at(projection))), 1e-12);
    }
    // Scores far above the limit: all that is left of W_q is its share of it, however the step was made.
    const Change plain = one_step(rule), clipped = one_step(rule + ", chain: [{kind: qk_clip, tau: 1.0e-6}]");
    for (std::size_t h = 0; h < heads; ++h) {
      const auto begin = static_cast<std::ptrdiff_t>(h * head_dim * width), size = head_dim * width;
      const auto head = [&](const Change& c) {
        const auto from = c.after.at(projection).begin() + begin;
        return norm(Vector(from, from + size));
      };
      EXPECT_LT(head(clipped), 1e-3 * head(plain)) << h;
    }
  }
}

TEST(AttentionUpdate, FollowsTheGroupOfTheProjection) {
  const std::string group = ", groups: [{match: '*.qkv.weight', lr_scale: 0.5, weight_decay: 0}]";
  const Vector whole = one_step("name: sgd, weight_decay: 0, attention: {update: fisher, graft: 0}").step(projection);
  Vector half = one_step("name: sgd, attention: {update: fisher, graft: 0}" + group).step(projection);
  for (double& x : half) x *= 2.0;
  EXPECT_TRUE(test::close(half, whole, 1e-12));
}

TEST(AttentionUpdate, StateIsNamedAfterTheLayers) {
  nn::Gpt model(options(), 11);
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  OptimizerOptions o;
  read_yaml_text("{attention: fisher}", "test", {}, o);
  const Optimizer optimizer(o, model, store, 10);
  std::vector<std::string> names;
  for (const auto& [name, value] : optimizer.state()) names.push_back(name);
  EXPECT_EQ(names.size(), 2 + 2 * 9);  // AdamW's two; for each layer the momentum, four averages and four inverses
  EXPECT_NE(std::find(names.begin(), names.end(), "fisher.blocks.1.attention.key_right_inverse"), names.end());
}

TEST(AttentionUpdate, ANonFiniteGradientMovesNothing) {
  nn::Gpt model(options(), 11);
  nn::ParameterStore store(model, reference, nn::Precision::float32, 1);
  OptimizerOptions o;
  read_yaml_text("{attention: {update: fisher, momentum: 0}}", "test", {}, o);
  Optimizer optimizer(o, model, store, 10);
  const Vector before = store.values().values();
  gradients_of_first_step(model, store, optimizer);
  store.grads().backend().fill({.x = store.grads().slice(0, 1), .value = std::nan("")});
  optimizer.step(1);
  EXPECT_EQ(store.values().values(), before);
}

TEST(AttentionUpdate, SaysWhatIsApproximateAndWhatIsNoFisherMatrix) {
  const auto notes = [](const std::string& model, const std::string& update) {
    nn::GptOptions gpt = options();
    read_yaml_text(model, "test", {}, gpt);
    nn::Gpt made(gpt, 11);
    return attention_updates().make(attention_updates().choose(update), attention_layers(made))->notes();
  };
  EXPECT_TRUE(notes("position: alibi", "fisher").empty());
  EXPECT_TRUE(notes("{position: rope, attention: sigmoid}", "fisher_cg").empty());
  EXPECT_NE(notes("position: rope", "fisher").at(0).find("approximation"), std::string::npos);
  EXPECT_NE(notes("{position: rope, attention: sparsemax}", "fisher").at(0).find("conjugate Hessian"),
            std::string::npos);
}

TEST(AttentionUpdate, NeedsAttentionLayers) {
  for (const char* update : {"row", "fisher", "fisher_cg"}) {
    EXPECT_THROW(attention_updates().make(attention_updates().choose(update), {}), KeyError) << update;
  }
}

}  // namespace
}  // namespace monge::optim
