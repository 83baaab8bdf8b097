// The cpu backend: the contract of core/backend.h on a processor. The methods are spread over the files of this folder
// by theme, each below the SIMD code that it runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace monge::cpu {

struct Product;

/// The instruction set that the SIMD kernels run on: "AVX-512", "AVX2", ...
std::string simd_target();

class CpuBackend final : public Backend {
 public:
  CpuBackend();

  Device device() const override { return {DeviceKind::cpu, 0}; }
  std::string description() const override;
  std::vector<std::string> notes() const override;
  void synchronize() override {}

 protected:
  MemoryPools& own_memory() override { return memory_; }

  // memory.cpp
  void compute(const kernel::CopyFromHost& args) override;
  void compute(const kernel::CopyToHost& args) override;
  void compute(const kernel::Copy& args) override;
  void compute(const kernel::Fill& args) override;

  // strided_copy.cpp
  void compute(const kernel::StridedCopy& args) override;

  // random.cpp
  void compute(const kernel::Uniform& args) override;
  void compute(const kernel::Normal& args) override;
  void compute(const kernel::Dropout& args) override;

  // matmul.cpp
  void compute(const kernel::Matmul& args) override;

  // elementwise.cpp
  void compute(const kernel::Add& args) override;
  void compute(const kernel::Mul& args) override;
  void compute(const kernel::Scale& args) override;
  void compute(const kernel::AddScaled& args) override;
  void compute(const kernel::Pointwise& args) override;
  void compute(const kernel::Activate& args) override;
  void compute(const kernel::ActivateBackward& args) override;

  // reductions.cpp
  void compute(const kernel::Sum& args) override;
  void compute(const kernel::Repeat& args) override;
  void compute(const kernel::Dot& args) override;

  // rows.cpp, rope.cpp
  void compute(const kernel::Softmax& args) override;
  void compute(const kernel::SoftmaxBackward& args) override;
  void compute(const kernel::Norm& args) override;
  void compute(const kernel::NormBackward& args) override;
  void compute(const kernel::Rope& args) override;

  // loss.cpp
  void compute(const kernel::Embedding& args) override;
  void compute(const kernel::EmbeddingBackward& args) override;
  void compute(const kernel::TargetShare& args) override;
  void compute(const kernel::SampleTargets& args) override;
  void compute(const kernel::CrossEntropy& args) override;
  void compute(const kernel::CrossEntropyBackward& args) override;

  // attention/forward.cpp, backward.cpp, metric.cpp
  void compute(const kernel::Attention& args) override;
  void compute(const kernel::AttentionBackward& args) override;
  void compute(const kernel::AttentionMetric& args) override;

  // segments.cpp
  void compute(const kernel::Segments& args) override;

  // attention/prefix_forward.cpp, prefix_backward.cpp
  void compute(const kernel::PrefixAttention& args) override;
  void compute(const kernel::PrefixAttentionBackward& args) override;

  // update.cpp
  void compute(const kernel::ClipFactor& args) override;
  void compute(const kernel::Update& args) override;
  void compute(const kernel::DirectedStep& args) override;

 private:
  /// oneDNN's product, or where this processor lacks it in bf16, the same in f32 on copies.
  void run_product(const Product& product, const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& out);
  Tensor widened(const Tensor& x);

  MemoryPools memory_;
  bool has_widened_products_ = false;
};

}  // namespace monge::cpu

namespace monge {

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace monge
