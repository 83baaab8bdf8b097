// A dry run counts what a computation takes, and computes nothing.
#include "core/dry_run.h"

#include <gtest/gtest.h>

#include "core/backend.h"
#include "support/expect_error.h"

namespace monge {
namespace {

const Device cpu{DeviceKind::cpu, 0};

TEST(DryRun, CountsTensorsAndTakesNoMemory) {
  Backend& backend = backend_of(cpu);
  const MemoryUsage before = backend.memory().usage();
  {
    const DryRun dry_run(backend);
    const Tensor x = Tensor::empty({1 << 20, 1 << 20}, DType::f32, cpu);  // 4 TiB
    EXPECT_EQ(backend.memory().usage().active, std::size_t{1} << 42);
    EXPECT_EQ(backend.memory().usage()[Pool::activations].peak, std::size_t{1} << 42);
  }
  EXPECT_EQ(backend.memory().usage().active, before.active);
  EXPECT_EQ(backend.memory().usage().system_allocations, before.system_allocations);
}

TEST(DryRun, ChecksKernelsAndComputesNothing) {
  Backend& backend = backend_of(cpu);
  const Tensor real = Tensor::from(std::vector{1.0, 2.0}, {2}, DType::f32, cpu);
  {
    const DryRun dry_run(backend);
    backend.fill({.x = real, .value = 7.0});
    const Tensor x = Tensor::from(std::vector{3.0, 4.0}, {2}, DType::f32, cpu);
    EXPECT_EQ(x.values(), (std::vector{0.0, 0.0}));
    const Tensor three = Tensor::zeros({3}, DType::f32, cpu);
    EXPECT_HAS(error_of<std::invalid_argument>([&] { backend.copy({.from = x, .to = three}); }), "[copy]");
  }
  EXPECT_EQ(real.values(), (std::vector{1.0, 2.0}));
}

// An op of one's own may read and write elements on the host.
TEST(DryRun, TheHostMayTouchTensors) {
  const DryRun dry_run(backend_of(cpu));
  const Tensor x = Tensor::empty({1000}, DType::f32, cpu);
  EXPECT_EQ(x.data_as<float>()[999], 0.0F);
  x.data_as<float>()[999] = 1.0F;
  EXPECT_EQ(x.data_as<float>()[999], 1.0F);
}

TEST(DryRun, MayBeNested) {
  Backend& backend = backend_of(cpu);
  const DryRun outer(backend);
  const Tensor a = Tensor::empty({64}, DType::f32, cpu);
  {
    const DryRun inner(backend);
    EXPECT_EQ(backend.memory().usage().active, 0U);
    const Tensor b = Tensor::empty({128}, DType::f32, cpu);
    EXPECT_EQ(backend.memory().usage().active, 512U);
    EXPECT_FALSE(a.same_memory(b));
  }
  EXPECT_EQ(backend.memory().usage().active, 256U);
}

TEST(DryRun, EndsWhereAddressesDo) {
  const DryRun dry_run(backend_of(cpu));
  std::vector<Tensor> tensors;
  EXPECT_HAS(error_of<OutOfMemory>([&] {
               for (int i = 0; i < 64; ++i) tensors.push_back(Tensor::empty({1 << 20, 1 << 20}, DType::f32, cpu));
             }),
             "out of memory on cpu");
}

}  // namespace
}  // namespace monge
