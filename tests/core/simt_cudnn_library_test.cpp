// The emulated cuDNN (tests/simt/libraries/cudnn.h): the mistakes that it is there to see, each an error with a reason.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <vector>

#include "core/cuda/cudnn/sdpa_graph.h"
#include "simt/libraries/cudnn.h"
#include "support/expect_error.h"

namespace monge::simt {
namespace {

using Tensor = CudnnGraph::Tensor;
using Dims = CudnnGraph::Dims;

#define EXPECT_REFUSAL(reason, ...) EXPECT_HAS(error_of<CudnnError>(__VA_ARGS__), reason)

CudnnDevice device() {
  static Queue* const stream = new Queue;
  static const cudnnHandle_t handle = [] {
    cudnnHandle_t made = nullptr;
    check_cudnn(cudnnCreate(&made), "create");
    check_cudnn(cudnnSetStream(made, stream), "set the stream");
    return made;
  }();
  return CudnnDevice(handle);
}

/// A float tensor of the caller.
Tensor given(CudnnGraph& g, std::int64_t uid, const Dims& d) {
  return g.memory(uid, d, {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1}, CUDNN_DATA_FLOAT);
}

TEST(CudnnLibrary, ShapesThatDoNotFitAreRefused) {
  CudnnGraph g;
  const Tensor a = given(g, 1, {1, 3, 8, 4}), row = given(g, 2, {1, 3, 8, 1}), b = given(g, 3, {1, 3, 4, 8});
  const Tensor groups = given(g, 4, {1, 2, 4, 8});
  EXPECT_REFUSAL("a product of (1, 3, 8, 4) and (1, 3, 8, 4) is not (1, 3, 8, 8)", [&] {
    g.matmul(a, a, g.internal({1, 3, 8, 8}));
  });
  EXPECT_REFUSAL("the matrices of (1, 2, 4, 8) do not repeat to those of (1, 3, 8, 8)", [&] {
    g.matmul(a, groups, g.internal({1, 3, 8, 8}));
  });
  EXPECT_REFUSAL("does not repeat to (1, 3, 8, 8)", [&] { g.pointwise(CUDNN_POINTWISE_ADD, {a, b}); });
  EXPECT_REFUSAL("is larger than its operands", [&] {
    g.pointwise(CUDNN_POINTWISE_EXP, {row}, g.internal({1, 3, 8, 4}));
  });
  EXPECT_REFUSAL("(1, 3, 8, 4) does not reduce to (1, 3, 2, 1)", [&] {
    g.reduce(CUDNN_REDUCE_TENSOR_ADD, a, g.internal({1, 3, 2, 1}));
  });
  EXPECT_NO_THROW(g.matmul(a, b, g.internal({1, 3, 8, 8})));
}

TEST(CudnnLibrary, OperandsOfTheWrongKindAreRefused) {
  CudnnGraph g;
  const Tensor a = given(g, 1, {1, 1, 8, 4});
  EXPECT_REFUSAL("has 2 operands, not 1", [&] { g.pointwise(CUDNN_POINTWISE_ADD, {a}); });
  EXPECT_REFUSAL("a condition is not boolean", [&] { g.pointwise(CUDNN_POINTWISE_BINARY_SELECT, {a, a, a}); });
  EXPECT_REFUSAL("integer arithmetic on something else", [&] { g.index_difference(a, a); });
  EXPECT_REFUSAL("positions need an axis", [&] { g.index(a, 4); });
  EXPECT_REFUSAL("the type of a pointwise result", [&] {
    g.pointwise(CUDNN_POINTWISE_EXP, {a}, g.internal({1, 1, 8, 4}, CUDNN_DATA_BOOLEAN));
  });
  EXPECT_REFUSAL("tensor 2 has dimensions (1, 1, 8, 0)", [&] { given(g, 2, {1, 1, 8, 0}); });
}

TEST(CudnnLibrary, GraphsThatNobodyCanRunAreRefused) {
  const auto plan = [](const std::function<void(CudnnGraph&)>& write) {
    return [=] {
      CudnnGraph g;
      write(g);
      CudnnPlan(g, device());
    };
  };
  const Dims dims{1, 1, 8, 8};
  EXPECT_REFUSAL("is read before it is made",
                 plan([&](CudnnGraph& g) { g.pointwise(CUDNN_POINTWISE_EXP, {g.internal(dims)}); }));
  EXPECT_REFUSAL(
      "two tensors have the uid 1", plan([&](CudnnGraph& g) {
        g.pointwise(CUDNN_POINTWISE_EXP, {given(g, 1, dims)}, g.memory(1, dims, {64, 64, 1, 8}, CUDNN_DATA_FLOAT));
      }));
  EXPECT_REFUSAL("tensor 2 is written twice", plan([&](CudnnGraph& g) {
                   for (int i = 0; i < 2; ++i) {
                     g.pointwise(CUDNN_POINTWISE_EXP, {given(g, 1, dims)}, given(g, 2, dims));
                   }
                 }));
  EXPECT_REFUSAL("tensor 1 is written after it was read", plan([&](CudnnGraph& g) {
                   g.pointwise(CUDNN_POINTWISE_EXP, {given(g, 1, dims)}, given(g, 1, dims));
                 }));
  EXPECT_REFUSAL("no engine supports the graph", plan([&](CudnnGraph& g) {
                   g.pointwise(CUDNN_POINTWISE_EXP, {given(g, 1, dims)}, given(g, 2, dims));
                 }));
}

TEST(CudnnLibrary, DescriptorsAreCompleteAndThenStayAsTheyAre) {
  CudnnDescriptor matmul(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  EXPECT_REFUSAL("lacks its attribute 1500", [&] { matmul.finalize(); });
  EXPECT_REFUSAL("attribute 1500 has type 1, not 3", [&] { matmul.set(CUDNN_ATTR_MATMUL_COMP_TYPE, std::int64_t{0}); });
  EXPECT_REFUSAL("have no attribute 906", [&] { matmul.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, std::int64_t{1}); });
  matmul.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);

  CudnnDescriptor operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  EXPECT_REFUSAL("is given a descriptor that is not finalized",
                 [&] { operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, matmul); });
  matmul.finalize();
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, matmul);
  EXPECT_REFUSAL("takes no descriptor of kind 18", [&] { operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, matmul); });
  EXPECT_REFUSAL("is changed after it was finalized",
                 [&] { matmul.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_BFLOAT16); });

  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  const std::array<std::int64_t, 2> uids{3, 3};
  const std::array<void*, 2> pointers{};
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 2, uids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, pointers.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, pointers.data());
  EXPECT_REFUSAL("2 uids and 1 pointers", [&] { pack.finalize(); });
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 2, pointers.data());
  EXPECT_REFUSAL("uid 3 is given twice", [&] { pack.finalize(); });
  EXPECT_REFUSAL("the emulated library has no descriptors of kind 38", [] { CudnnDevice("{}"); });
}

/// A call of one head of 128 tokens, in memory of the device.
class CudnnExecution : public testing::Test {
 protected:
  static constexpr std::int64_t tokens = 128, head_dim = 64;
  static constexpr SdpaLayout layout{head_dim, tokens* head_dim};
  static constexpr SdpaForward forward{.batch = 1,
                                       .heads = 1,
                                       .kv_heads = 1,
                                       .tokens = tokens,
                                       .head_dim = head_dim,
                                       .q = layout,
                                       .k = layout,
                                       .v = layout,
                                       .out = layout};

  CudnnExecution() {
    for (const std::int64_t uid : {sdpa_uid::q, sdpa_uid::k, sdpa_uid::v, sdpa_uid::out}) {
      memory[uid] = take(tokens * head_dim * 2);
    }
    memory[sdpa_uid::row_stat] = take(tokens * 4);
    given = memory;
  }
  ~CudnnExecution() override {
    for (const auto& [uid, block] : memory) EXPECT_EQ(cudaFree(block), cudaSuccess);
  }
  static void* take(std::size_t bytes) {
    void* block = nullptr;
    EXPECT_EQ(cudaMalloc(&block, bytes), cudaSuccess);
    return block;
  }
  void run(void* workspace = nullptr) const { plan.run(device().handle(), given, workspace); }

  CudnnPlan plan{sdpa_graph(forward), device()};
  std::map<std::int64_t, void*> memory, given;
};

TEST_F(CudnnExecution, RunsWithMemoryForEveryTensor) {
  const int before = cudnn_library().executed;
  EXPECT_EQ(plan.workspace_bytes(), 0);
  EXPECT_NO_THROW(run());
  EXPECT_EQ(cudnn_library().executed, before + 1);
}

TEST_F(CudnnExecution, MemoryThatIsNotWhatTheGraphSaysIsRefused) {
  const int before = cudnn_library().executed;
  const auto with = [&](std::int64_t uid, void* pointer) {
    return [this, uid, pointer] {
      given = memory;
      given[uid] = pointer;
      run();
    };
  };
  std::byte* const k = static_cast<std::byte*>(memory[sdpa_uid::k]);
  std::vector<float> host(tokens);
  EXPECT_REFUSAL("tensor 2 is not aligned to 16 bytes", with(sdpa_uid::k, k + 2));
  EXPECT_REFUSAL("tensor 2: its 16384 bytes are not all memory of the device", with(sdpa_uid::k, k + 16));
  EXPECT_REFUSAL("tensor 5: its 512 bytes are not all memory of the device", with(sdpa_uid::row_stat, host.data()));
  EXPECT_REFUSAL("tensor 3 is null", with(sdpa_uid::v, nullptr));
  EXPECT_REFUSAL("the graph has no tensor 7", with(sdpa_uid::dout, k));
  given = memory;
  given.erase(sdpa_uid::q);
  EXPECT_REFUSAL("tensor 1 is not given", [&] { run(); });
  EXPECT_EQ(cudnn_library().executed, before);
}

TEST_F(CudnnExecution, ABackwardNeedsItsWorkspace) {
  const SdpaBackward backward{.forward = forward, .dout = layout, .dq = layout, .dk = layout, .dv = layout};
  plan = CudnnPlan(sdpa_graph(backward), device());
  EXPECT_GE(plan.workspace_bytes(), 2 * tokens * tokens);
  for (const std::int64_t uid : {sdpa_uid::dout, sdpa_uid::dq, sdpa_uid::dk, sdpa_uid::dv}) {
    memory[uid] = take(tokens * head_dim * 2);
  }
  memory[sdpa_uid::row_sum] = take(tokens * 4);
  given = memory;
  EXPECT_REFUSAL("the workspace is not", [&] { run(); });
  EXPECT_REFUSAL("the workspace is not", [&] { run(memory[sdpa_uid::q]); });
  memory[0] = take(static_cast<std::size_t>(plan.workspace_bytes()));
  EXPECT_NO_THROW(run(memory[0]));
}

}  // namespace
}  // namespace monge::simt
