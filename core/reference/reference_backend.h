// The reference backend: plain loops in double precision. Slow, obviously right, the oracle of every test.
//
// Floats are f64 and integers i32. Meaning, shapes and errors of each method are those of core/backend.h; the methods
// are spread over the files of this folder by theme.
#pragma once

#include <memory>

#include "core/backend.h"

namespace monge {

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend();

  Device device() const override { return {DeviceKind::reference, 0}; }
  std::string description() const override { return "reference: plain loops in double precision, one thread"; }
  DType default_float() const override { return DType::f64; }
  MemoryPools& memory() override { return memory_; }

  // memory.cpp
  void copy_from_host(const void* from, const Tensor& to) override;
  void copy_to_host(const Tensor& from, void* to) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void fill(const Tensor& x, double value) override;
  void synchronize() override {}

  // random.cpp
  void uniform(const Tensor& x, double low, double high, const Random& random) override;
  void normal(const Tensor& x, double mean, double stddev, const Random& random) override;
  void dropout(const Tensor& x, const Tensor& y, double p, const Random& random) override;

  // matmul.cpp
  void matmul(const Matmul& args) override;

  // elementwise.cpp
  void add(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void mul(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) override;
  void scale(const Tensor& x, double factor, const Tensor& out) override;
  void add_scaled(const Tensor& x, double factor, const Tensor& y) override;
  void activation(Activation kind, const Tensor& x, const Tensor& y) override;
  void activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                           const Tensor& y) override;

  // reductions.cpp
  void swap_middle(const Tensor& x, const Tensor& y) override;
  void sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor, const Tensor& out,
           bool accumulate) override;
  void repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
              const Tensor& out) override;
  void dot(const Tensor& a, const Tensor& b, const Tensor& out) override;

  // rows.cpp
  void softmax(const Tensor& x, const Tensor& y) override;
  void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) override;
  void norm(const Norm& args) override;
  void norm_backward(const NormBackward& args) override;
  void rope(const Rope& args) override;

  // loss.cpp
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

  // update.cpp
  void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) override;
  void update(const Update& args) override;
  void directed_step(const DirectedStep& args) override;

 private:
  MemoryPools memory_;
};

std::unique_ptr<Backend> make_reference_backend();

}  // namespace monge
