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
  void synchronize() override {}

 protected:
  MemoryPools& own_memory() override { return memory_; }

  // memory.cpp
  void compute(const kernel::CopyFromHost& args) override;
  void compute(const kernel::CopyToHost& args) override;
  void compute(const kernel::Copy& args) override;
  void compute(const kernel::Fill& args) override;
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

  // rows.cpp
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

  // attention.cpp
  void compute(const kernel::Attention& args) override;
  void compute(const kernel::AttentionBackward& args) override;
  void compute(const kernel::AttentionMetric& args) override;

  // segments.cpp
  void compute(const kernel::Segments& args) override;

  // prefix_attention.cpp
  void compute(const kernel::PrefixAttention& args) override;
  void compute(const kernel::PrefixAttentionBackward& args) override;

  // update.cpp
  void compute(const kernel::ClipFactor& args) override;
  void compute(const kernel::Update& args) override;
  void compute(const kernel::DirectedStep& args) override;

 private:
  MemoryPools memory_;
};

std::unique_ptr<Backend> make_reference_backend();

}  // namespace monge
