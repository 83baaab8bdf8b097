// Softmax attention of a device on whole tiles of 128 tokens, with heads of 64 and 128: the calls that a GPU's library
// and tensor-core kernels take, against the reference backend.
#include <gtest/gtest.h>

#include <cmath>

#include "core/attention_calls.h"
#include "support/tested_device.h"

namespace monge {
namespace {

using test::expect_equal;
using test::inputs_of;
using test::run_attention;
using test::tested;
using Case = test::AttentionCase;
using Inputs = test::AttentionInputs;

TEST(AttentionTiles, MatchReference) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const bool causal : {true, false}) expect_equal({2, 128, 128, 2, 2, head_dim, 0, causal});
  }
}

TEST(AttentionTiles, GroupedHeadsAndSlopesMatchReference) {
  for (const std::int64_t kv_heads : {1, 2}) {
    for (const bool causal : {true, false}) expect_equal({1, 128, 128, 4, kv_heads, 64, 0, causal, true});
  }
}

TEST(AttentionTiles, SeveralTilesMatchReference) { expect_equal({1, 384, 384, 2, 1, 64}); }

// Every score is about -100, exp of which is 0 in f32; bf16 holds these queries and keys exactly.
TEST(AttentionTiles, AllScoresNearMinusHundredMatchReference) {
  const Case c{1, 256, 256, 2, 2, 64};
  Inputs in = inputs_of(c, DType::bf16);
  auto values = in.q.values();
  const std::int64_t width = in.q.size(2);
  for (std::int64_t t = 0; t < c.queries; ++t) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      values[static_cast<std::size_t>(t * width + h * c.head_dim)] = 50.0;
      values[static_cast<std::size_t>(t * width + (c.heads + h) * c.head_dim)] = -16.0;
    }
  }
  in.q = Tensor::from(values, in.q.shape(), DType::bf16, tested);
  expect_equal(c, in);
}

TEST(AttentionTiles, TheSameBitsAgain) {
  const Case c{2, 256, 256, 4, 2, 64};
  const Inputs in = inputs_of(c, DType::bf16);
  EXPECT_EQ(run_attention(c, in, tested), run_attention(c, in, tested));
}

}  // namespace
}  // namespace monge
