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
  /// With an Sdpa of its own limit (core/cuda/sdpa.h).
  CudaBackend(int index, std::int64_t most_score_bytes);
  ~CudaBackend() override;

  Device device() const override { return {DeviceKind::cuda, index_}; }
  std::string description() const override;
  MemoryPools& memory() override { return memory_; }
  void configure(const GpuSettings& settings) override;
  std::vector<std::string> notes() const override;
  std::unique_ptr<Recording> record(const std::function<void()>& calls) override;

  // memory.cu
  void copy_from_host(const void* from, const Tensor& to) override;
  void copy_to_host(const Tensor& from, void* to) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void fill(const Tensor& x, double value) override;
  void synchronize() override { runtime_.synchronize(); }

  // random.cu
  void uniform(const Tensor& x, double low, double high, const Random& random) override;
  void normal(const Tensor& x, double mean, double stddev, const Random& random) override;
  void dropout(const Tensor& x, const Tensor& y, double p, const Random& random) override;

  // matmul.cu
  void matmul(const Matmul& args) override;

  // elementwise.cu
  void add(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void mul(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) override;
  void scale(const Tensor& x, double factor, const Tensor& out) override;
  void add_scaled(const Tensor& x, double factor, const Tensor& y) override;
  void activation(Activation kind, const Tensor& x, const Tensor& y) override;
  void activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                           const Tensor& y) override;

  // shape.cu
  void swap_middle(const Tensor& x, const Tensor& y) override;
  void repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
              const Tensor& out) override;
  void rope(const Rope& args) override;

  // sums.cu
  void sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor, const Tensor& out,
           bool accumulate) override;
  void dot(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) override;

  // rows.cu, norm.cu
  void softmax(const Tensor& x, const Tensor& y) override;
  void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) override;
  void norm(const Norm& args) override;
  void norm_backward(const NormBackward& args) override;

  // embedding.cu, cross_entropy.cu
  void embedding(const Tensor& ids, const Tensor& table, const Tensor& out) override;
  void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable, bool accumulate) override;
  void target_share(const Tensor& targets, std::int64_t vocab, const Tensor& share) override;
  void sample_targets(const Tensor& logits, const Random& random, const Tensor& targets) override;
  void cross_entropy(const CrossEntropy& args) override;
  void cross_entropy_backward(const CrossEntropyBackward& args) override;

  // attention.cpp
  void attention(const Attention& args) override;
  void attention_backward(const AttentionBackward& args) override;
  void attention_metric(const AttentionMetric& args) override;

  // update.cu
  void update(const Update& args) override;
  void directed_step(const DirectedStep& args) override;

 private:
  Tensor scratch(const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(shape, dtype, device(), Pool::scratch);
  }

  void note_path(const char* pass, const Attention& args, const char* path, const std::string& reasons);

  const int index_;
  GpuSettings settings_;
  Runtime runtime_;
  MemoryPools memory_;
  std::unique_ptr<Products> products_;
  std::unique_ptr<Sdpa> sdpa_;
  std::set<std::string> notes_;
};

}  // namespace monge::MONGE_GPU
