#include "train/data/made_up/transduction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/expect_error.h"

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

std::unique_ptr<Dataset> make(const TransductionOptions& o, std::int64_t T = 13, std::int64_t S = 12) {
  return make_transduction_dataset(
      o, {.context = T, .fields = {{"tokens", T}, {"targets", T}, {"source", S}, {"source_segment", S}}, .seed = 3});
}

/// Source and target, without marks, of a sequence whose layout is right.
struct Word {
  Tokens source, target;
};

Word word_of(const Dataset& data, std::uint64_t index) {
  Tokens tokens(13), targets(13), source(12), segment(12);
  data.train_sequence(index, {{"tokens", std::span(tokens)},
                              {"targets", std::span(targets)},
                              {"source", std::span(source)},
                              {"source_segment", std::span(segment)}});
  source.resize(static_cast<std::size_t>(std::ranges::count(segment, 0)));
  const auto end = std::ranges::find(targets, 0);
  EXPECT_EQ(std::count(end + 1, targets.end(), -1), targets.end() - end - 1);
  return {source, {targets.begin(), end}};
}

TEST(Transduction, WordsAreRewrittenByTheRule) {
  for (const std::string task : {"reverse", "sort", "cipher"}) {
    TransductionOptions o;
    o.task = task;
    const auto data = make(o);
    std::set<std::size_t> lengths;
    std::set<std::int32_t> letters;
    for (std::uint64_t i = 0; i < 500; ++i) {
      const auto [source, target] = word_of(*data, i);
      lengths.insert(source.size());
      letters.insert(source.begin(), source.end());
      Tokens expected = source;
      if (task == "reverse") std::ranges::reverse(expected);
      if (task == "sort") std::ranges::sort(expected);
      if (task == "cipher") {
        expected.clear();
        for (std::size_t k = 1; k < source.size(); ++k) expected.push_back(2 + (source[k] + source[0] - 4) % 16);
      }
      EXPECT_EQ(target, expected) << task;
    }
    EXPECT_EQ(lengths.size(), 9u);  // 4 .. 12
    EXPECT_EQ(letters.size(), 16u);
    EXPECT_EQ(*letters.begin(), 2);
    EXPECT_EQ(data->validation_optimum(3), 0.0);
    EXPECT_EQ(data->vocab(), 18);
  }
}

TEST(Transduction, HalfOfACipheredLettersFollowTheOneBefore) {
  TransductionOptions o;
  o.task = "cipher";
  const auto data = make(o);
  double follow = 0.0, all = 0.0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const Tokens source = word_of(*data, i).source;
    for (std::size_t k = 2; k < source.size(); ++k) {
      all += 1.0;
      follow += source[k] == 2 + (source[k - 1] - 1) % 16 ? 1.0 : 0.0;
    }
  }
  EXPECT_NEAR(follow / all, 0.5 + 0.5 / 16, 0.02);
}

TEST(Transduction, WhatDoesNotFitIsRefused) {
  TransductionOptions o;
  EXPECT_HAS(error_of([&] { make(o, 12); }), "data.longest = 12: the target has 12 tokens; allowed: 11");
  EXPECT_HAS(error_of([&] { make(o, 13, 11); }), "the source has 12 tokens; allowed: 11 (model.source_context)");
  o.longest = 3;
  EXPECT_HAS(error_of([&] { make(o); }), "is 3, below shortest = 4");
}

}  // namespace
}  // namespace monge::train
