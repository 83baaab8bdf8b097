// Attention of the cpu backend, forward and backward, against the reference backend: odd sizes, grouped heads, slopes,
// dropout, a key/value cache, extreme scores; and its independence of the number of threads.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <ostream>
#include <vector>

#include "core/backend.h"
#include "core/cpu_kernels.h"
#include "support/compare.h"

namespace monge {
namespace {

using test::close;
using test::cpu;
using test::on;
using test::random_tensor;
using test::reference;

struct Case {
  std::int64_t batch, queries, keys, heads, kv_heads, head_dim;
  std::int64_t start = 0;
  bool causal = true, slopes = false;
  double dropout = 0.0;
};

std::ostream& operator<<(std::ostream& to, const Case& c) {
  return to << "B=" << c.batch << " T=" << c.queries << " S=" << c.keys << " H=" << c.heads << " G=" << c.kv_heads
            << " D=" << c.head_dim << " start=" << c.start << (c.causal ? " causal" : "") << (c.slopes ? " slopes" : "")
            << " dropout=" << c.dropout;
}

// Queries, keys and values: packed in one projection, or a projection of the queries beside a longer cache.
struct Inputs {
  Tensor q, kv, dout;

  bool packed() const { return !kv; }
};

Inputs inputs_of(const Case& c, DType dtype) {
  const auto q_width = c.heads * c.head_dim, kv_width = 2 * c.kv_heads * c.head_dim;
  Inputs in;
  in.dout = random_tensor({c.batch, c.queries, q_width}, 3, dtype, cpu);
  if (c.queries == c.keys) {
    in.q = random_tensor({c.batch, c.queries, q_width + kv_width}, 1, dtype, cpu);
  } else {
    in.q = random_tensor({c.batch, c.queries, q_width}, 1, dtype, cpu);
    in.kv = random_tensor({c.batch, c.keys + 3, kv_width}, 2, dtype, cpu);
  }
  return in;
}

// The head views of q, k and v, or of their gradients.
struct Views {
  HeadView q, k, v;
};

Views views_of(const Case& c, const Tensor& q, const Tensor& kv) {
  const auto view = [](const Tensor& t, std::int64_t offset) {
    return HeadView{t, offset, t.size(2), t.size(1) * t.size(2)};
  };
  const auto q_width = c.heads * c.head_dim, v_offset = c.kv_heads * c.head_dim;
  if (!kv) return {view(q, 0), view(q, q_width), view(q, q_width + v_offset)};
  return {view(q, 0), view(kv, 0), view(kv, v_offset)};
}

struct Results {
  std::vector<double> out, row_stat, dq, dkv;
};

// Forward and backward on `device`. What backward must not write keeps the value 7.
Results run(const Case& c, const Inputs& given, Device device) {
  const DType dtype = device == reference ? DType::f64 : given.q.dtype();
  const DType wide = backend_of(device).default_float();
  const Tensor q = on(device, dtype, given.q), kv = on(device, dtype, given.kv), dout = on(device, dtype, given.dout);
  const auto gradient = [](const Tensor& x) {
    if (!x) return Tensor();
    const Tensor g = Tensor::like(x);
    g.backend().fill(g, 7.0);
    return g;
  };
  const Views in = views_of(c, q, kv);
  const Tensor out = Tensor::like(dout), dq = gradient(q), dkv = gradient(kv);
  const Views grads = views_of(c, dq, dkv);
  const auto output = [&](const Tensor& t) {
    return HeadView{t, 0, c.heads * c.head_dim, c.queries * c.heads * c.head_dim};
  };

  Attention a;
  a.batch = c.batch;
  a.queries = c.queries;
  a.keys = c.keys;
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.start = c.start;
  a.causal = c.causal;
  a.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  a.dropout = c.dropout;
  a.random = {.seed = 11, .stream = 5, .step = Tensor::from(std::vector<std::int32_t>{9}, {1}, device)};
  if (c.slopes) {
    std::vector<double> slopes;
    for (std::int64_t h = 0; h < c.heads; ++h) slopes.push_back(std::exp2(-static_cast<double>(h + 1)));
    a.slopes = Tensor::from(slopes, {c.heads}, wide, device);
  }
  a.q = in.q;
  a.k = in.k;
  a.v = in.v;
  a.out = output(out);
  a.row_stat = Tensor::zeros({c.batch, c.heads, c.queries}, wide, device);
  backend_of(device).attention(a);
  backend_of(device).attention_backward({a, output(dout), grads.q, grads.k, grads.v});
  return {out.values(), a.row_stat.values(), dq.values(), kv ? dkv.values() : std::vector<double>{}};
}

double tolerance_of(DType dtype) { return dtype == DType::bf16 ? 1e-2 : 1e-5; }

void expect_equal(const Case& c, const Inputs& in, double tolerance) {
  SCOPED_TRACE(testing::Message() << c << " " << name_of(in.q.dtype()));
  const Results got = run(c, in, cpu), expected = run(c, in, reference);
  EXPECT_TRUE(close(got.out, expected.out, tolerance)) << "out";
  EXPECT_TRUE(close(got.row_stat, expected.row_stat, 1e-5)) << "row_stat";
  EXPECT_TRUE(close(got.dq, expected.dq, tolerance)) << (in.packed() ? "dq, dk, dv" : "dq");
  EXPECT_TRUE(close(got.dkv, expected.dkv, tolerance)) << "dk, dv";
}

void expect_equal(const Case& c) {
  for (const DType dtype : {DType::f32, DType::bf16}) expect_equal(c, inputs_of(c, dtype), tolerance_of(dtype));
}

TEST(CpuAttention, OddSizesMatchReference) {
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

TEST(CpuAttention, GroupedHeadsSlopesAndDropoutMatchReference) {
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

TEST(CpuAttention, WideHeadsMatchReference) {
  for (const std::int64_t head_dim : {1, 80, 128, 200, 256}) expect_equal({1, 50, 50, 2, 1, head_dim});
}

TEST(CpuAttention, ManyTilesMatchReference) {
  expect_equal({1, 300, 300, 2, 1, 16});
  expect_equal({1, 20, 3000, 2, 2, 8, 2980});
}

TEST(CpuAttention, ACacheOfKeysMatchesReference) {
  for (const std::int64_t keys : {2, 33, 64, 70}) {
    expect_equal({2, 1, keys, 4, 2, 32, keys - 1, true, true});  // one new token
  }
  expect_equal({1, 5, 70, 4, 2, 32, 65});        // several new tokens
  expect_equal({1, 5, 70, 4, 2, 32, 40});        // the newest keys belong to later tokens
  expect_equal({3, 7, 65, 2, 2, 24, 0, false});  // every query sees every key
  expect_equal({1, 70, 9, 2, 2, 24, 0, true});   // more queries than keys
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
  in.q = Tensor::from(values, in.q.shape(), DType::f32, cpu);
  return in;
}

TEST(CpuAttention, AllScoresNearMinusHundredMatchReference) {
  const Case c{2, 65, 65, 2, 2, 32};
  // A score of 100 has a unit in the last place of 8e-6, and a weight takes the error of its score.
  expect_equal(c, shifted_inputs(c, 10.0, [](std::int64_t) { return -10.0; }), 3e-5);
}

TEST(CpuAttention, OneScoreOfEightyMatchesReference) {
  const Case c{2, 65, 65, 2, 2, 32};
  expect_equal(c, shifted_inputs(c, 10.0, [](std::int64_t j) { return j == 40 ? 8.0 : 0.0; }), 1e-5);
}

TEST(CpuAttention, TheNumberOfThreadsDoesNotChangeABit) {
  for (const Case& c : {Case{1, 200, 200, 2, 1, 33}, Case{5, 65, 65, 8, 4, 32, 0, true, true, 0.2}}) {
    const Inputs in = inputs_of(c, DType::f32);
    for (const auto result : {&Results::out, &Results::row_stat, &Results::dq}) {
      test::expect_same_for_any_threads([&] { return run(c, in, cpu).*result; });
    }
  }
}

TEST(CpuAttention, WorkSpaceGrowsLinearlyInTheLengthOfTheSequence) {
  MemoryPools& memory = backend_of(cpu).memory();
  const auto peak = [&](std::int64_t tokens) {
    const Case c{1, tokens, tokens, 1, 1, 16};
    const Inputs in = inputs_of(c, DType::f32);
    memory.reset_peak();
    run(c, in, cpu);
    return static_cast<double>(memory.usage()[Pool::scratch].peak);
  };
  const double shorter = peak(1024), longer = peak(4096);
  EXPECT_GT(shorter, 0.0);
  EXPECT_LT(longer, 4.0 * shorter);
}

TEST(CpuAttention, AnEmptyBatchIsNoWork) {
  const Case c{0, 4, 4, 2, 2, 8};
  EXPECT_NO_THROW(run(c, inputs_of(c, DType::f32), cpu));
}

class CpuAttentionOn : public test::CpuKernels {};
MONGE_CPU_KERNEL_TESTS(CpuAttentionOn);

TEST_P(CpuAttentionOn, EveryInstructionSetMatchesReference) {
  for (const Case& c : {Case{2, 7, 7, 2, 2, 33}, Case{1, 65, 65, 4, 2, 80, 0, true, true, 0.3},
                        Case{1, 3, 70, 2, 2, 8, 67}, Case{1, 33, 33, 1, 1, 64, 0, false}}) {
    expect_equal(c, inputs_of(c, dtype()), tolerance());
  }
}

}  // namespace
}  // namespace monge
