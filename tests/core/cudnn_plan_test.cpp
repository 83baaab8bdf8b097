// What cuDNN supports of our attention graphs, asked of the library without a GPU: it plans for devices that are only
// described. A version of cuDNN that loses a graph fails here. libcuda.so.1 must be there, if only as the toolkit's
// stub.
#include <gtest/gtest.h>

#if defined(MONGE_CUDNN)

#include <dlfcn.h>

#include <ostream>

#include "core/cuda/cudnn/sdpa_graph.h"
#include "support/compare.h"

namespace monge::MONGE_GPU {
namespace {

struct Described {
  const char* name;
  int version, multiprocessors, shared_bytes;  // shared memory that a block can ask for
  std::int64_t memory_bytes;
  int clock_khz, memory_clock_khz, cache_bytes;
};
const Described h200{"NVIDIA H200", 900, 132, 232448, 150'000'000'000, 1980000, 3201000, 62914560};
const Described a100{"NVIDIA A100-SXM4-80GB", 800, 108, 166912, 85'000'000'000, 1410000, 1593000, 41943040};

CudnnDevice device_of(const Described& d) {
  return CudnnDevice(fmt::format(
      R"({{"cudaDeviceId": 0, "deviceName": "{}", "deviceVer": {}, "driverVer": 13000, "multiProcessorCount": {},
          "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": {}, "reservedSharedMemoryPerBlock": 1024,
          "totalGlobalMem": {}, "smClockRateKHz": {}, "memClockRateKHz": {}, "l2CacheSize": {}, "warpSize": 32,
          "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
          "maxThreadsPerSM": 2048, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
          "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1}})",
      d.name, d.version, d.multiprocessors, d.shared_bytes, d.memory_bytes, d.clock_khz, d.memory_clock_khz,
      d.cache_bytes));
}

SdpaForward packed(std::int64_t head_dim, std::int64_t kv_heads = 12, bool causal = true, bool slopes = false) {
  constexpr std::int64_t batch = 8, heads = 12, tokens = 1024;
  const std::int64_t width = (heads + 2 * kv_heads) * head_dim;
  const SdpaLayout in{width, tokens * width}, out{heads * head_dim, tokens * heads * head_dim};
  return {.batch = batch,
          .heads = heads,
          .kv_heads = kv_heads,
          .tokens = tokens,
          .head_dim = head_dim,
          .causal = causal,
          .slopes = slopes,
          .scale = 0.125,
          .q = in,
          .k = in,
          .v = in,
          .out = out};
}
SdpaBackward backward_of(const SdpaForward& f) {
  return {.forward = f, .dout = f.out, .dq = f.q, .dk = f.k, .dv = f.v};
}

std::size_t engines(const CudnnGraph& graph, const Described& device) {
  return CudnnPlan::proposals(graph, device_of(device)).size();
}

struct Row {
  const Described* device;
  std::int64_t head_dim;
  std::size_t forward, backward;  // engines proposed
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.device->name << ", head_dim " << row.head_dim; }

/// As seen with cuDNN 9.19 and 9.26.
const std::vector<Row> seen{{&h200, 64, 4, 2}, {&h200, 128, 2, 2}, {&a100, 64, 3, 1}, {&a100, 128, 1, 1}};

/// cuDNN starts no planning without the driver's library.
#define SKIP_WITHOUT_DRIVER_LIBRARY() \
  if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) GTEST_SKIP() << dlerror()

class CudnnPlanTest : public testing::TestWithParam<Row> {
 protected:
  void SetUp() override { SKIP_WITHOUT_DRIVER_LIBRARY(); }
};
INSTANTIATE_TEST_SUITE_P(Devices, CudnnPlanTest, testing::ValuesIn(seen), [](const auto& info) {
  return fmt::format("sm{}_d{}", info.param.device->version / 10, info.param.head_dim);
});

TEST_P(CudnnPlanTest, EveryCallThatIsNotRefusedHasAnEngine) {
  const Row& row = GetParam();
  const std::size_t version = cudnnGetVersion() / 100;
  const bool known = version == 919 || version == 926;
  for (const bool causal : {true, false}) {
    for (const bool slopes : {false, true}) {
      if (slopes && !causal) continue;  // refused
      for (const std::int64_t kv_heads : {12, 4}) {
        SCOPED_TRACE(fmt::format("cuDNN {}, causal {}, slopes {}, kv_heads {}", version, causal, slopes, kv_heads));
        const SdpaForward f = packed(row.head_dim, kv_heads, causal, slopes);
        const std::size_t forward = engines(sdpa_graph(f), *row.device);
        const std::size_t backward = engines(sdpa_graph(backward_of(f)), *row.device);
        EXPECT_GT(forward, 0U);
        EXPECT_GT(backward, 0U);
        if (known) {
          EXPECT_EQ(forward, row.forward);
          EXPECT_EQ(backward, row.backward);
        }
      }
    }
  }
}

/// Compiles the first engine that cuDNN proposes. Without a device the compiled kernel cannot be loaded, and that is
/// how it ends.
void expect_compiles(const CudnnGraph& graph, const CudnnDevice& device) {
  const auto proposals = CudnnPlan::proposals(graph, device);
  ASSERT_FALSE(proposals.empty());
  try {
    CudnnPlan::compile(proposals.front(), device);
  } catch (const CudnnError& e) {
    EXPECT_EQ(e.status(), CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER) << e.what();
  }
}

TEST_P(CudnnPlanTest, KernelsCompile) {
  const CudnnDevice device = device_of(*GetParam().device);
  const SdpaForward f = packed(GetParam().head_dim, 4);
  expect_compiles(sdpa_graph(f), device);
  expect_compiles(sdpa_graph(backward_of(f)), device);
}

TEST(CudnnGraphTest, WhatCudnnDoesNotKnowHasNoEngineAndNoPlan) {
  SKIP_WITHOUT_DRIVER_LIBRARY();
  const CudnnGraph graph = sdpa_graph(backward_of(packed(512)));
  EXPECT_EQ(engines(graph, h200), 0U);
  try {
    CudnnPlan(graph, device_of(h200));
    FAIL() << "a plan was made";
  } catch (const CudnnError& e) {
    EXPECT_EQ(e.status(), CUDNN_STATUS_NOT_SUPPORTED);
    EXPECT_STREQ(e.what(), "cudnn: no engine supports the graph");
  }
}

TEST(CudnnGraphTest, AWrongDescriptionIsAnErrorInWords) {
  try {
    CudnnDevice("{}");
    FAIL() << "a device was made of nothing";
  } catch (const CudnnError& e) {
    EXPECT_NE(std::string(e.what()).find("cudnn: "), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("CUDNN_STATUS_"), std::string::npos);
  }
}

/// A call that cuDNN may do, on the cpu's memory: limits look at shapes and addresses only.
kernel::AttentionBackward good_call() {
  constexpr std::int64_t batch = 2, heads = 4, tokens = 128, head_dim = 64, width = 3 * heads * head_dim;
  const auto tensor = [](std::int64_t columns) {
    return Tensor::zeros({batch, tokens, columns}, DType::bf16, test::cpu);
  };
  const Tensor qkv = tensor(width), dqkv = tensor(width);
  const auto view = [](const Tensor& x, std::int64_t head) {
    return HeadView{x, head * head_dim, x.size(2), tokens * x.size(2)};
  };
  kernel::AttentionBackward args;
  args.forward = {.batch = batch,
                  .queries = tokens,
                  .keys = tokens,
                  .heads = heads,
                  .kv_heads = heads,
                  .head_dim = head_dim,
                  .scale = 0.125,
                  .q = view(qkv, 0),
                  .k = view(qkv, heads),
                  .v = view(qkv, 2 * heads),
                  .out = view(tensor(heads * head_dim), 0),
                  .row_stat = Tensor::zeros({batch, heads, tokens}, DType::f32, test::cpu)};
  args.dout = view(tensor(heads * head_dim), 0);
  args.dq = view(dqkv, 0);
  args.dk = view(dqkv, heads);
  args.dv = view(dqkv, 2 * heads);
  return args;
}

TEST(SdpaLimitTest, NamesWhatItDoesNotTake) {
  constexpr std::size_t version = 91900;
  EXPECT_EQ(sdpa_limit(good_call(), version, 90), "");
  EXPECT_EQ(sdpa_limit(good_call(), 91701, 90), "cuDNN 9.17 is older than 9.18");
  EXPECT_EQ(sdpa_limit(good_call(), version, 100),
            "the deterministic backward is not known on compute capability 10.0");

  const auto limit = [](auto change) {
    kernel::AttentionBackward args = good_call();
    change(args);
    return sdpa_limit(args, version, 90);
  };
  const auto forward_limit = [&](auto change) {
    return limit([&](kernel::AttentionBackward& args) { change(args.forward); });
  };
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.map = SparsemaxMap(); }),
            "cuDNN knows softmax only, not sparsemax");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.q.data = a.q.data.to(DType::f32, test::cpu); }),
            "cuDNN needs bf16, not f32");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.prior.head = Tensor::zeros({4}, DType::f32, test::cpu); }),
            "cuDNN knows no log-prior but ALiBi");
  const Tensor numbers = Tensor::zeros({2 * 4 * 128 + 1}, DType::f32, test::cpu);
  const auto slopes = [&](bool causal, std::int64_t first) {
    return forward_limit([&](kernel::Attention& a) {
      a.causal = causal;
      a.prior.slopes = numbers.slice(first, first + 4);
    });
  };
  EXPECT_EQ(slopes(true, 4), "");
  EXPECT_EQ(slopes(false, 4), "cuDNN knows ALiBi under a causal mask only");
  EXPECT_EQ(slopes(true, 1), "the slopes are not aligned to 16 bytes");
  EXPECT_EQ(forward_limit([&](kernel::Attention& a) {
              a.row_stat = numbers.slice(1, 2 * 4 * 128 + 1).reshape({2, 4, 128});
            }),
            "the row statistics are not aligned to 16 bytes");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.dropout = 0.1; }),
            "cuDNN draws other random numbers for dropout");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.head_dim = 80; }), "head_dim 80 is neither 64 nor 128");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.queries = 1; }),
            "cuDNN is used for whole sequences, not for decoding");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.start = 3; }),
            "cuDNN is used for whole sequences, not for decoding");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.queries = a.keys = 192; }),
            "192 tokens are not a multiple of 128");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.queries = a.keys = 1; }), "1 tokens are not a multiple of 128");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.batch = 0; }), "there is nothing to do");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.scale = 0.0; }), "the scale 0 is not positive");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { ++a.k.offset; }), "the heads are not aligned to 16 bytes");
  EXPECT_EQ(forward_limit([](kernel::Attention& a) { a.v.token_stride += 4; }),
            "the heads are not aligned to 16 bytes");
  EXPECT_EQ(limit([](kernel::AttentionBackward& a) { a.dq.offset += 4; }), "the heads are not aligned to 16 bytes");
  EXPECT_EQ(limit([](kernel::AttentionBackward& a) { a.row_dq = a.dq; }),
            "cuDNN does not know the row natural gradient");
}

}  // namespace
}  // namespace monge::MONGE_GPU

#else

TEST(CudnnPlanTest, NeedsCudnn) { GTEST_SKIP() << "this build has no cuDNN"; }

#endif
