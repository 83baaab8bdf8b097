// The fused attention kernels with softmax on the emulated device, against the reference backend: sizes around the
// tiles, grouped heads, slopes, dropout, hard inputs; and what holds for every map: the same bits in any order of the
// threads, no bank conflicts, and which calls are refused.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "core/fused_calls.h"
#include "support/expect_error.h"

namespace monge {
namespace {

using test::cpu;
using test::expect_fused_equal;
using test::inputs_of;
using test::run_fused;
using Case = test::AttentionCase;
using Inputs = test::AttentionInputs;

TEST(FusedSoftmax, SizesAroundTheTilesMatchReference) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t tokens : {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 192}) {
      for (const bool causal : {true, false}) expect_fused_equal({1, tokens, tokens, 1, 1, head_dim, 0, causal});
    }
  }
}

TEST(FusedSoftmax, BatchesAndGroupedHeadsMatchReference) {
  for (const std::int64_t kv_heads : {1, 2, 4}) expect_fused_equal({2, 70, 70, 4, kv_heads, 64});
}

TEST(FusedSoftmax, OtherNumbersOfKeysThanQueriesMatchReference) {
  for (const bool causal : {true, false}) {
    for (const std::int64_t keys : {1, 40, 64, 200}) expect_fused_equal({1, 100, keys, 2, 1, 64, 0, causal});
  }
}

TEST(FusedSoftmax, SlopesAndDropoutMatchReference) {
  for (const std::int64_t tokens : {65, 99, 128}) {  // a row of 99 keys starts anywhere in a block of random words
    for (const bool slopes : {false, true}) {
      for (const double dropout : {0.0, 0.3}) {
        for (const bool causal : {true, false}) {
          expect_fused_equal({1, tokens, tokens, 2, 1, 64, 0, causal, slopes, dropout});
        }
      }
    }
  }
  expect_fused_equal({2, 130, 130, 2, 2, 128, 0, true, true, 0.1});
}

TEST(FusedSoftmax, SolvedRowsMatchReference) {
  for (const auto scale : {RowDamping::Scale::per_key, RowDamping::Scale::absolute, RowDamping::Scale::trace}) {
    for (const double lambda : {1e-6, 0.1, 10.0}) {
      expect_fused_equal({1, 130, 130, 2, 1, 64, 0, true, true, 0.2, {}, false, RowDamping{lambda, scale}});
    }
    expect_fused_equal({1, 70, 70, 2, 2, 128, 0, false, false, 0.0, {}, false, RowDamping{0.1, scale}});
    expect_fused_equal({1, 64, 192, 1, 1, 64, 0, false, false, 0.0, {}, false, RowDamping{0.1, scale}});
  }
}

// --- hard inputs ---

/// Every second query meets score(i, j) at key j; the others ordinary scores of N(0, 9), so that there are gradients
/// which the bounds can be relative to: those of a peaked row vanish. Key j is the unit vector j % 64, so keys repeat.
Inputs with_scores(const Case& c, const std::function<double(std::int64_t i, std::int64_t j)>& score) {
  Inputs in = inputs_of(c, DType::bf16);
  auto values = in.q.values();
  const auto width = in.q.size(2), D = c.head_dim;
  const double unit = std::sqrt(static_cast<double>(D));  // 1 / scale
  for (std::int64_t t = 0; t < c.queries; ++t) {
    double* const token = values.data() + t * width;
    for (std::int64_t d = 0; d < D; ++d) {
      token[d] = t % 2 == 0 ? unit * score(t, d) : 3.0 * unit * token[d];
      token[D + d] = t % D == d ? 1.0 : 0.0;
    }
  }
  in.q = Tensor::from(values, in.q.shape(), DType::bf16, cpu);
  return in;
}

TEST(FusedSoftmax, ExtremeScoresMatchReference) {
  const Case c{1, 150, 150, 1, 1, 64, 0, true, false, 0.0, {}, false, RowDamping{}};
  const auto none = [](std::int64_t, std::int64_t) { return 0.0; };
  const auto all_far_below = [](std::int64_t i, std::int64_t j) { return -100.0 + static_cast<double>((i + j) % 3); };
  const auto one_far_above = [](std::int64_t i, std::int64_t j) { return j == i % 7 ? 80.0 : 0.0; };
  const auto rising = [](std::int64_t, std::int64_t j) { return 4.0 * static_cast<double>(j) - 120.0; };
  for (const auto& score :
       {std::function<double(std::int64_t, std::int64_t)>(none), {all_far_below}, {one_far_above}, {rising}}) {
    for (const double lambda : {1e-6, 0.1, 10.0}) {
      Case damped = c;
      damped.damping->lambda = lambda;
      expect_fused_equal(damped, with_scores(damped, score));
    }
  }
}

TEST(FusedSoftmax, HugeGradientsMatchReference) {
  const Case c{1, 129, 129, 1, 1, 64, 0, true, false, 0.0, {}, false, RowDamping{}};
  Inputs in = inputs_of(c, DType::bf16);
  in.dout.backend().scale({.x = in.dout, .factor = std::exp2(60.0), .out = in.dout});
  expect_fused_equal(c, in);
}

// --- what holds for every map ---

TEST(Fused, EveryOrderOfTheThreadsGivesTheSameBits) {
  const RowDamping of_trace{0.1, RowDamping::Scale::trace};
  for (const Case& c : {Case{1, 130, 130, 2, 1, 64, 0, true, true, 0.2, {}, false, of_trace},
                        Case{1, 64, 192, 1, 1, 64, 0, false, false, 0.0, {}, false, of_trace}}) {
    const Inputs in = inputs_of(c, DType::bf16);
    simt::set_seed(1);
    const auto expected = run_fused(c, in, {});
    for (std::uint64_t seed = 2; seed <= 6; ++seed) {
      simt::set_seed(seed);
      EXPECT_EQ(run_fused(c, in, {}), expected) << c << " MONGE_SIMT_SEED=" << simt::seed();
    }
  }
}

TEST(Fused, TilesAreReadWithoutBankConflicts) {
  const auto before = simt::bank_conflicts;
  for (const std::int64_t head_dim : {64, 128}) {
    const Case c{1, 130, 130, 1, 1, head_dim, 0, true, false, 0.0, {}, false, RowDamping{}};
    run_fused(c, inputs_of(c, DType::bf16), {});
  }
  EXPECT_EQ(simt::bank_conflicts, before);
}

TEST(Fused, CallsThatDoNotFitAreRefusedWithTheReason) {
  const Tensor x = Tensor::zeros({1, 8, 192}, DType::bf16, cpu), table = Tensor::zeros({8}, DType::f32, cpu);
  const auto view = [&](const Tensor& data, std::int64_t offset) { return HeadView{data, offset, 192, 8 * 192}; };
  kernel::Attention good;
  good.batch = good.heads = good.kv_heads = 1;
  good.queries = good.keys = 8;
  good.head_dim = 64;
  good.q = good.out = view(x, 0);
  good.k = view(x, 64);
  good.v = view(x, 128);
  EXPECT_EQ(simt::fused_refusal(good), "");
  const auto refusal = [&](const std::function<void(kernel::Attention&)>& change) {
    kernel::Attention bad = good;
    change(bad);
    return simt::fused_refusal(bad);
  };
  EXPECT_HAS(refusal([](kernel::Attention& a) { a.head_dim = 80; }), "head_dim is 80, not 64 or 128");
  EXPECT_HAS(refusal([&](kernel::Attention& a) { a.prior.distance = table; }), "slopes only");
  EXPECT_HAS(refusal([](kernel::Attention& a) { a.start = 3; }), "cache");
  EXPECT_HAS(refusal([](kernel::Attention& a) { a.keys = 0; }), "no keys");
  EXPECT_HAS(refusal([](kernel::Attention& a) { a.scale = -1.0; }), "scale is -1");
  EXPECT_HAS(refusal([](kernel::Attention& a) { a.k.offset = 68; }), "the heads of k do not start");
  EXPECT_HAS(refusal([](kernel::Attention& a) { a.v.data = a.v.data.to(DType::f32, cpu); }), "v is f32, not bf16");
  EXPECT_HAS(simt::fused_refusal(kernel::AttentionBackward{good, view(x, 4), view(x, 0), view(x, 0), view(x, 0)}),
             "dout");
}

}  // namespace
}  // namespace monge
