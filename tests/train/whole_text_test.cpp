// Evaluation of all of a text.
#include "train/data/whole_text.h"

#include <gtest/gtest.h>

#include <numeric>

#include "support/expect_error.h"
#include "train/tokenizer/byte_tokenizer.h"

namespace monge::train {
namespace {

const auto tokenizer = make_byte_tokenizer({}, "");

std::vector<std::int32_t> count_to(std::int64_t n) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// Tokens that are their own places: every target follows its token, and each is there once, from enough tokens.
TEST(WholeText, PredictsEachTokenButTheFirstOnceFromEnoughTokens) {
  for (const std::int64_t n : {2, 3, 8, 9, 10, 16, 17, 18, 25, 100}) {
    for (const std::int64_t stride : {1, 3, 4, 7, 8}) {
      constexpr std::int64_t context = 8;
      const WholeText text(count_to(n), *tokenizer, context, stride);
      std::vector<int> predicted(static_cast<std::size_t>(n));
      for (std::int64_t w = 0; w < text.validation_windows(); ++w) {
        std::vector<std::int32_t> tokens(context, -7), targets(context, -7);
        text.validation_window(w, {{"tokens", tokens}, {"targets", targets}});
        for (std::int64_t i = 0; i < context; ++i) {
          const std::int32_t target = targets[static_cast<std::size_t>(i)];
          ASSERT_GE(tokens[static_cast<std::size_t>(i)], 0);
          if (target < 0) continue;
          EXPECT_EQ(target, tokens[static_cast<std::size_t>(i)] + 1);
          ++predicted[static_cast<std::size_t>(target)];
          EXPECT_GE(i + 1, std::min<std::int64_t>(target, context - stride + 1)) << n << " " << stride;
        }
      }
      EXPECT_EQ(predicted[0], 0);
      EXPECT_EQ(std::count(predicted.begin() + 1, predicted.end(), 1), n - 1) << n << " " << stride;
      EXPECT_EQ(text.predicted(), n - 1);
      EXPECT_EQ(text.bytes(), n - 1);
    }
  }
}

TEST(WholeText, RefusesWhatHasNothingToPredict) {
  EXPECT_HAS(error_of([] { WholeText({5}, *tokenizer, 8, 8); }), "has 1 tokens");
  EXPECT_HAS(error_of([] { WholeText({5, 6}, *tokenizer, 8, 9); }), "a stride of 9 tokens; allowed: 1 .. 8");
}

}  // namespace
}  // namespace monge::train
