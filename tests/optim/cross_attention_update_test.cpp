// The updates of W_q and W_k where they are two parameters, in cross-attention, and rows of one, in encoder and
// decoder.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "core/options/yaml.h"
#include "nn/encoder_decoder.h"
#include "optim/optimizer.h"
#include "support/compare.h"
#include "support/model_gradients.h"
#include "support/spans.h"

namespace monge::optim {
namespace {

using test::reference;

constexpr std::int64_t C = 16;

nn::EncoderDecoderOptions small() {
  nn::EncoderDecoderOptions o;
  o.layers = 1;
  o.heads = 4;
  o.kv_heads = 2;
  o.width = C;
  o.context = 5;
  o.source_context = 6;
  return o;
}

/// How far the rows of every parameter move in one step of SGD, by name, "q", "k" and "v" apart.
std::map<std::string, double> moves(const std::string& update, Device device = reference,
                                    nn::Precision precision = nn::Precision::float32) {
  nn::EncoderDecoder model(small(), 11);
  nn::ParameterStore store(model, device, precision, 1);
  OptimizerOptions options;
  read_yaml_text(
      "{name: sgd, lr: 1.0, momentum: 0, weight_decay: 0, clip_norm: 0, schedule: constant, attention: " + update + "}",
      "test", {}, options);
  Optimizer optimizer(options, model, store, 10);
  const std::vector<double> before = store.values().values();
  optimizer.begin(1);
  test::loss_gradients(model, store,
                       {{"tokens", test::random_ids({2, 5}, 11, 1, device)},
                        {"targets", test::random_ids({2, 5}, 11, 2, device)},
                        {"source", test::random_ids({2, 6}, 11, 3, device)},
                        {"source_segment", test::padding_segments({6, 4}, 6, device)}});
  optimizer.step(1);
  const std::vector<double> after = store.values().values();
  std::map<std::string, double> out;
  for (const auto& e : store.entries()) {
    std::int64_t begin = e.begin;
    const auto add = [&](const std::string& name, std::int64_t size) {
      double square = 0.0;
      for (std::int64_t i = begin; i < begin + size; ++i) {
        square += std::pow(after[static_cast<std::size_t>(i)] - before[static_cast<std::size_t>(i)], 2);
      }
      out[name] = std::sqrt(square);
      begin += size;
    };
    if (e.parameter->parts().empty()) add(e.name, e.shape.numel());
    for (const nn::Part& part : e.parameter->parts()) add(e.name + "." + part.name, part.rows * C);
  }
  return out;
}

bool is_query_or_key(const std::string& name) { return name.ends_with(".q") || name.ends_with(".k"); }

TEST(CrossAttentionUpdate, ScaledMovesTheRowsOfQueriesAndKeysAlone) {
  const auto plain = moves("backprop"), doubled = moves("{update: scaled, factor: 2}");
  int moved = 0;
  for (const auto& [name, length] : plain) {
    EXPECT_NEAR(doubled.at(name), (is_query_or_key(name) ? 2.0 : 1.0) * length, 1e-9 * length) << name;
    moved += is_query_or_key(name) ? 1 : 0;
  }
  EXPECT_EQ(moved, 6);  // of encoder, decoder and cross-attention
}

TEST(CrossAttentionUpdate, NaturalOnesTakeTheLengthOfTheRulesStep) {
  const auto plain = moves("backprop");
  for (const char* update : {"{update: fisher, momentum: 0}", "{update: fisher_cg, momentum: 0}"}) {
    const auto natural = moves(update);
    for (const auto& [name, length] : plain) EXPECT_NEAR(natural.at(name), length, 1e-9 * length) << update << name;
  }
}

TEST(CrossAttentionUpdate, RowChangesQueriesAndKeysAlone) {
  const auto plain = moves("backprop"), rows = moves("{update: row, damping: 0.1}");
  for (const auto& [name, length] : plain) {
    if (is_query_or_key(name)) {
      EXPECT_GT(std::abs(rows.at(name) - length), 1e-3 * length) << name;
    } else {
      EXPECT_NEAR(rows.at(name), length, 1e-9 * length) << name;
    }
  }
}

TEST(CrossAttentionUpdate, RunsInBfloat16) {
  for (const char* update : {"{update: fisher}", "{update: fisher_cg}", "{update: row}"}) {
    for (const auto& [name, length] : moves(update, test::cpu, nn::Precision::bfloat16)) {
      EXPECT_TRUE(std::isfinite(length)) << update << " " << name;
    }
  }
}

}  // namespace
}  // namespace monge::optim
