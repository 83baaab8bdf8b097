// Softmax attention of a device, forward and backward, against the reference backend: odd sizes, grouped heads,
// slopes, dropout, a key/value cache, large scores; and what holds for every map: the same bits for any number of
// threads, and work space that grows linearly.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "core/attention_calls.h"
#include "core/kernels.h"

namespace monge {
namespace {

using test::expect_equal;
using test::inputs_of;
using test::run_attention;
using test::tested;
using Case = test::AttentionCase;
using Inputs = test::AttentionInputs;

TEST(Attention, OddSizesMatchReference) {
  for (const std::int64_t batch : {1, 3}) {
    for (const std::int64_t tokens : {1, 7, 63, 64, 65}) {
      for (const std::int64_t head_dim : {8, 32, 33, 64}) {
        for (const bool causal : {true, false}) {
          expect_equal({batch, tokens, tokens, 2, 2, head_dim, 0, causal});
        }
      }
    }
  }
}

TEST(Attention, GroupedHeadsSlopesAndDropoutMatchReference) {
  for (const std::int64_t tokens : {1, 7, 63, 65}) {
    for (const std::int64_t kv_heads : {1, 2}) {
      for (const bool slopes : {false, true}) {
        for (const double dropout : {0.0, 0.3}) {
          for (const bool causal : {true, false}) {
            expect_equal({2, tokens, tokens, 4, kv_heads, 16, 0, causal, slopes, dropout});
          }
        }
      }
    }
  }
}

TEST(Attention, WideHeadsMatchReference) {
  for (const std::int64_t head_dim : {1, 80, 128, 200, 256}) expect_equal({1, 50, 50, 2, 1, head_dim});
}

TEST(Attention, ManyTilesMatchReference) {
  expect_equal({1, 300, 300, 2, 1, 16});
  expect_equal({1, 20, 3000, 2, 2, 8, 2980});
}

TEST(Attention, ACacheOfKeysMatchesReference) {
  for (const std::int64_t keys : {2, 33, 64, 70}) {
    expect_equal({2, 1, keys, 4, 2, 32, keys - 1, true, true});  // one new token
  }
  expect_equal({1, 5, 70, 4, 2, 32, 65});        // several new tokens
  expect_equal({1, 5, 70, 4, 2, 32, 40});        // the newest keys belong to later tokens
  expect_equal({3, 7, 65, 2, 2, 24, 0, false});  // every query sees every key
  expect_equal({1, 70, 9, 2, 2, 24, 0, true});   // more queries than keys
}

TEST(Attention, SequencesOfOneKeyMatchReference) {
  for (const bool causal : {true, false}) {
    expect_equal({3, 3, 3, 2, 1, 16, 0, causal, false, 0.0, {}, false, {}, test::Sees::padded});  // of 3, 3 and 1 keys
    expect_equal({3, 3, 3, 2, 1, 64, 0, causal, false, 0.0, {}, false, {}, test::Sees::padded});
  }
}

// Moves the scores by q_0 k_0: component 0 of every query is `query`, of the keys `key(j)`.
Inputs shifted_inputs(const Case& c, double query, const std::function<double(std::int64_t)>& key) {
  Inputs in = inputs_of(c, DType::f32);
  auto values = in.q.values();
  const auto width = in.q.size(2);
  const double scale = std::sqrt(static_cast<double>(c.head_dim));
  for (std::int64_t t = 0; t < c.batch * c.queries; ++t) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      values[static_cast<std::size_t>(t * width + h * c.head_dim)] = query * scale;
      values[static_cast<std::size_t>(t * width + (c.heads + h) * c.head_dim)] = key(t % c.queries);
    }
  }
  in.q = Tensor::from(values, in.q.shape(), DType::f32, tested);
  return in;
}

TEST(Attention, AllScoresNearMinusHundredMatchReference) {
  const Case c{2, 65, 65, 2, 2, 32};
  // A score of 100 has a unit in the last place of 8e-6, and a weight takes the error of its score.
  expect_equal(c, shifted_inputs(c, 10.0, [](std::int64_t) { return -10.0; }), 3.0);
}

TEST(Attention, OneScoreOfEightyMatchesReference) {
  const Case c{2, 65, 65, 2, 2, 32};
  expect_equal(c, shifted_inputs(c, 10.0, [](std::int64_t j) { return j == 40 ? 8.0 : 0.0; }));
}

TEST(Attention, TheNumberOfThreadsDoesNotChangeABit) {
  for (const Case& c : {Case{1, 200, 200, 2, 1, 33, 0, true, false, 0.0, {}, true, RowDamping{}},
                        Case{5, 65, 65, 8, 4, 32, 0, true, true, 0.2, Entmax15Map(), true,
                             RowDamping{.scale = RowDamping::Scale::trace}}}) {
    const Inputs in = inputs_of(c, DType::f32);
    for (const auto& [name, values] : run_attention(c, in, tested)) {
      SCOPED_TRACE(name);
      test::expect_same_for_any_threads([&, key = name] { return run_attention(c, in, tested).at(key); });
    }
  }
}

TEST(Attention, WorkSpaceGrowsLinearlyInTheLengthOfTheSequence) {
  if (tested != test::cpu) GTEST_SKIP() << "on a GPU f32 attention keeps scores, in buffers of bounded size";
  MemoryPools& memory = backend_of(tested).memory();
  const auto peak = [&](std::int64_t tokens) {
    const Case c{1, tokens, tokens, 1, 1, 16, 0, true, true, 0.1, {}, true, RowDamping{}};
    const Inputs in = inputs_of(c, DType::f32);
    memory.reset_peak();
    run_attention(c, in, tested);
    return static_cast<double>(memory.usage()[Pool::scratch].peak);
  };
  const double shorter = peak(1024), longer = peak(4096);
  EXPECT_GT(shorter, 0.0);
  EXPECT_LT(longer, 4.0 * shorter);
}

// Each way can be asked for, all give the same, and the notes say which one a call took and why not another.
TEST(Attention, AGpuSaysWhichWayItTook) {
  if (tested == test::cpu) GTEST_SKIP() << "the cpu has one way";
  Backend& backend = backend_of(tested);
  const auto noted = [&](const char* words) {
    for (const std::string& note : backend.notes()) {
      if (note.find(words) != std::string::npos) return true;
    }
    return false;
  };
  using Path = GpuSettings::AttentionPath;
  const Case wide{1, 65, 65, 2, 1, 64}, narrow{1, 7, 7, 2, 2, 16};
  for (const auto& [path, words] :
       {std::pair{Path::fused, "backward of softmax bf16, 2 heads of 64: fused kernels"},
        {Path::unfused, "backward of softmax bf16, 2 heads of 64: products and row kernels"}}) {
    backend.configure({.attention = path});
    expect_equal(wide, inputs_of(wide, DType::bf16));
    EXPECT_TRUE(noted(words)) << words;
  }
  backend.configure({.attention = Path::fused});
  expect_equal(narrow, inputs_of(narrow, DType::bf16));
  EXPECT_TRUE(noted("products and row kernels (not fused kernels: head_dim is 16"));
  backend.configure({});
}

TEST(Attention, AnEmptyBatchIsNoWork) {
  const Case c{0, 4, 4, 2, 2, 8};
  EXPECT_NO_THROW(run_attention(c, inputs_of(c, DType::f32), tested));
}

class AttentionOn : public test::Kernels {};
MONGE_KERNEL_TESTS(AttentionOn);

TEST_P(AttentionOn, EveryInstructionSetMatchesReference) {
  for (const Case& c : {Case{2, 7, 7, 2, 2, 33}, Case{1, 65, 65, 4, 2, 80, 0, true, true, 0.3},
                        Case{1, 3, 70, 2, 2, 8, 67}, Case{1, 33, 33, 1, 1, 64, 0, false}}) {
    expect_equal(c, inputs_of(c, dtype()));
  }
}

}  // namespace
}  // namespace monge
