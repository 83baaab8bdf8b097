// `monge bench`: attention alone, the data sheets, and what the command takes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "core/machine.h"
#include "support/expect_error.h"
#include "support/program.h"
#include "tools/bench/attention_bench.h"

namespace monge::tools {
namespace {

using Path = GpuSettings::AttentionPath;
constexpr Device cpu{DeviceKind::cpu, 0};
const AttentionCase small{.batch = 2, .heads = 3, .tokens = 32, .head_dim = 8};

TEST(AttentionBench, TimesForwardBackwardAndTheRowSolve) {
  const AttentionTiming timing = time_attention(cpu, small, 0.0);
  EXPECT_GT(timing.forward, 0.0);
  EXPECT_GT(timing.backward, 0.0);
  EXPECT_GT(timing.row_backward, 0.0);
  // Q K^T and P V of 2 x 3 heads: 2 * 32 * 32 * 8 FLOP each, of which half are causal.
  EXPECT_NEAR(timing.forward_rate() * timing.forward, 2 * 3 * 2 * (2 * 32 * 32 * 8) / 2, 1e-6);
  EXPECT_NEAR(timing.backward_rate() * timing.backward, 2.5 * timing.forward_rate() * timing.forward, 1e-6);

  AttentionCase softpick = small;
  softpick.map = SoftpickMap();  // has no metric, so no row solve
  EXPECT_EQ(time_attention(cpu, softpick, 0.0).row_backward, 0.0);
  AttentionCase by_cudnn = small;
  by_cudnn.path = Path::cudnn;
  EXPECT_EQ(time_attention(cpu, by_cudnn, 0.0).row_backward, 0.0);

  const auto json = attention_json({timing});
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0]["kind"], "softmax");
  EXPECT_EQ(json[0]["tokens"], 32);
  EXPECT_NEAR(json[0]["row_backward_milliseconds"].get<double>(), 1e3 * timing.row_backward, 1e-9);
}

TEST(AttentionBench, ACaseThatDoesNotFitSaysSoAndLeavesTheOthers) {
  MemoryPools& memory = backend_of(cpu).memory();
  memory.trim();
  memory.set_limit(1);
  const AttentionTiming timing = time_attention(cpu, small, 0.0);
  memory.set_limit(0);
  EXPECT_EQ(timing.forward, 0.0);
  ASSERT_EQ(timing.notes.size(), 1u);
  EXPECT_HAS(timing.notes[0], "out of memory");
  EXPECT_FALSE(attention_json({timing})[0].contains("forward_milliseconds"));
  EXPECT_GT(time_attention(cpu, small, 0.0).forward, 0.0);
}

TEST(AttentionBench, AGpuTimesEveryKindAndEveryWayOfSoftmax) {
  std::set<std::tuple<std::int64_t, std::string_view, Path>> seen;
  for (const AttentionCase& c : attention_cases({DeviceKind::cuda, 0})) {
    EXPECT_EQ(c.dtype, DType::bf16);
    EXPECT_TRUE(seen.insert({c.tokens, name_of(c.map), c.path}).second) << "twice";
  }
  EXPECT_EQ(seen.size(), 2u * (3 + RowMaps::size - 1));
  for (const Path path : {Path::cudnn, Path::fused, Path::unfused}) {
    EXPECT_TRUE(seen.contains({1024, "softmax", path}));
    EXPECT_TRUE(seen.contains({4096, "softmax", path}));
  }
  EXPECT_TRUE(seen.contains({1024, "sigmoid", Path::fused}));
}

TEST(DataSheet, KnowsGpusByName) {
  const auto peak = [](const char* description) { return data_sheet_peak(description); };
  EXPECT_EQ(peak("NVIDIA H200 (sm_90, 132 multiprocessors, 140 GiB)"), 989e12);
  EXPECT_EQ(peak("NVIDIA H200 NVL (sm_90)"), 835e12);
  EXPECT_EQ(peak("NVIDIA H100 80GB HBM3 (sm_90)"), 989e12);
  EXPECT_EQ(peak("NVIDIA H100 PCIe (sm_90)"), 756e12);
  EXPECT_EQ(peak("NVIDIA A100-SXM4-80GB (sm_80)"), 312e12);
  EXPECT_FALSE(peak("NVIDIA GeForce RTX 4090 (sm_89)"));
  EXPECT_FALSE(peak("AMD EPYC, AVX-512, 2 threads"));
}

TEST(BenchCommand, TakesWholeStepsAloneAndOneDevice) {
  test::Program program;
  program.write_config();
  const test::Result steps = program.run("bench config.yaml --steps 2 --no-ops --json");
  EXPECT_EQ(steps.code, 0) << steps.err;
  const auto json = nlohmann::json::parse(steps.out);
  EXPECT_TRUE(json["ops"].empty());
  EXPECT_GT(json["step"]["flops_per_token"], 0.0);
  EXPECT_FALSE(json.contains("data_sheet_peak_bf16")) << "this is a processor";
  EXPECT_EQ(program.run("bench config.yaml --device cpu").code, 2);
  const test::Result reference = program.run("bench --device reference");
  EXPECT_EQ(reference.code, 2);
  EXPECT_HAS(reference.err, "bench cpu or cuda");
}

}  // namespace
}  // namespace monge::tools
