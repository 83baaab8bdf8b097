// The cuda backend: the contract of core/backend.h on a GPU. The methods are spread over the files of this folder by
// theme, each below the kernels that it launches.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/cuda/runtime.h"

namespace monge::MONGE_GPU {

class Products;
class Sdpa;

class CudaBackend final : public Backend {
 public:
  /// Throws InputError when the device cannot be used.
  explicit CudaBackend(int index);
  /// With an Sdpa of its own limit (core/cuda/cudnn/sdpa.h).
  CudaBackend(int index, std::int64_t most_score_bytes);
  ~CudaBackend() override;

  Device device() const override { return {DeviceKind::cuda, index_}; }
  std::string description() const override;
  void configure(const GpuSettings& settings) override;
  GpuSettings settings() const override { return settings_; }
  std::vector<std::string> notes() const override;
  std::unique_ptr<CapturedCalls> capture(const std::function<void()>& calls) override;
  void synchronize() override { runtime_.synchronize(); }

 protected:
  MemoryPools& own_memory() override { return memory_; }
  bool computes_at_once() const override { return false; }

  // memory.cu
  void compute(const kernel::CopyFromHost& args) override;
  void compute(const kernel::CopyToHost& args) override;
  void compute(const kernel::Copy& args) override;
  void compute(const kernel::Fill& args) override;

  // random.cu
  void compute(const kernel::Uniform& args) override;
  void compute(const kernel::Normal& args) override;
  void compute(const kernel::Dropout& args) override;

  // matmul.cu
  void compute(const kernel::Matmul& args) override;

  // elementwise.cu
  void compute(const kernel::Add& args) override;
  void compute(const kernel::Mul& args) override;
  void compute(const kernel::Scale& args) override;
  void compute(const kernel::AddScaled& args) override;
  void compute(const kernel::Pointwise& args) override;
  void compute(const kernel::Activate& args) override;
  void compute(const kernel::ActivateBackward& args) override;

  // shape.cu
  void compute(const kernel::StridedCopy& args) override;
  void compute(const kernel::Repeat& args) override;
  void compute(const kernel::Rope& args) override;

  // sums.cu
  void compute(const kernel::Sum& args) override;
  void compute(const kernel::Dot& args) override;
  void compute(const kernel::ClipFactor& args) override;

  // rows.cu, norm.cu
  void compute(const kernel::Softmax& args) override;
  void compute(const kernel::SoftmaxBackward& args) override;
  void compute(const kernel::Norm& args) override;
  void compute(const kernel::NormBackward& args) override;

  // embedding.cu, cross_entropy.cu
  void compute(const kernel::Embedding& args) override;
  void compute(const kernel::EmbeddingBackward& args) override;
  void compute(const kernel::TargetShare& args) override;
  void compute(const kernel::SampleTargets& args) override;
  void compute(const kernel::CrossEntropy& args) override;
  void compute(const kernel::CrossEntropyBackward& args) override;

  // attention.cpp
  void compute(const kernel::Attention& args) override;
  void compute(const kernel::AttentionBackward& args) override;
  void compute(const kernel::AttentionMetric& args) override;

  // segments.cu
  void compute(const kernel::Segments& args) override;

  // prefix_attention.cu
  void compute(const kernel::PrefixAttention& args) override;
  void compute(const kernel::PrefixAttentionBackward& args) override;

  // update.cu
  void compute(const kernel::Update& args) override;
  void compute(const kernel::DirectedStep& args) override;

 private:
  Tensor scratch(const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(shape, dtype, device(), Pool::scratch);
  }

  void note_path(const char* pass, const kernel::Attention& args, const char* path, const std::string& reasons);

  const int index_;
  GpuSettings settings_;
  Runtime runtime_;
  MemoryPools memory_;
  std::unique_ptr<Products> products_;
  std::unique_ptr<Sdpa> sdpa_;
  std::set<std::string> notes_;
};

}  // namespace monge::MONGE_GPU
