// Backend: the contract of a device.
//
// A kernel reads and writes tensors of its own device, which the caller has allocated; it never allocates a result,
// never takes a host pointer (but to copy) and never waits for the device. Values that change from step to step
// (learning rate, step number, clip factor) are device scalars, so that a whole step can be recorded and replayed.
//
// Each kernel is declared in core/kernel: a struct of named arguments that says what it computes, and the check of
// these arguments. A call is checked, then marked in the active profile, then computed by the device:
//
//   backend.sum({.x = x, .outer = B, .n = T, .inner = C, .out = out});
//
// Shapes use the letters of the field: B batch, T tokens, C width, H heads, G key/value heads, D head width, V
// vocabulary. R and N stand for any row and column count: a kernel that works on rows reads its tensors as
// (shape.rows(), last()). "float" tensors are f32 or bf16 (cpu, cuda) or f64 (reference); all float arguments of one
// call share their dtype unless the text says otherwise. Arithmetic and sums are in f32 or better, but what attention
// multiplies (weights, gradients of scores) may be rounded to the dtype of its tensors. Outputs may not overlap inputs
// unless the text says "in place".
//
// Every kernel throws std::invalid_argument with its name, the shapes, the dtypes and the device when its arguments do
// not fit. Kernels of one backend may be called from one thread at a time. In a DryRun a call is only checked.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/dry_run.h"
#include "core/kernel/attention.h"
#include "core/kernel/elementwise.h"
#include "core/kernel/loss.h"
#include "core/kernel/matmul.h"
#include "core/kernel/memory.h"
#include "core/kernel/prefix_attention.h"
#include "core/kernel/random.h"
#include "core/kernel/reductions.h"
#include "core/kernel/rows.h"
#include "core/kernel/segments.h"
#include "core/kernel/strided_copy.h"
#include "core/kernel/update.h"
#include "core/memory.h"

namespace monge {

/// Choices of a GPU backend that change its speed and the last bits of results.
struct GpuSettings {
  enum class AttentionPath : std::uint8_t { fastest, cudnn, fused, unfused };
  AttentionPath attention = AttentionPath::fastest;  // what a call is tried on first; what refuses it is passed over
  bool tf32 = false;                                 // f32 products on tensor cores, with 10-bit mantissas
  bool tune = false;                                 // time algorithms of products at their first use
  std::string tuning_file;                           // where these choices are kept; empty: nowhere

  bool operator==(const GpuSettings&) const = default;
};

/// Kernel calls that a device has captured, to be replayed on the same memory.
class CapturedCalls {
 public:
  virtual ~CapturedCalls() = default;
  virtual void replay() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual Device device() const = 0;
  /// One line for people: processor, instruction set, threads, libraries.
  virtual std::string description() const = 0;
  /// The float storage a computation of this device uses by default: f32, or f64 on reference.
  virtual DType default_float() const { return DType::f32; }
  MemoryPools& memory() { return dry_memory_ == nullptr ? own_memory() : *dry_memory_; }
  /// The best rate of a square matrix product, in FLOP per second: measured by the first call, and again when the
  /// device describes itself otherwise (another number of threads).
  double matmul_peak(DType dtype);
  /// Takes effect for the calls that follow, whose notes start anew. Nothing where there is no GPU.
  virtual void configure(const GpuSettings&) {}
  virtual GpuSettings settings() const { return {}; }
  /// What a user should know of the choices made so far, a sentence each: which way attention takes, and why.
  virtual std::vector<std::string> notes() const { return {}; }
  /// Runs `calls`, kernel calls without transfers from or to the host, and captures them where the device can; null
  /// where it cannot. They must have run before, so that memory is allocated and algorithms are chosen. The result
  /// keeps the memory that they allocated.
  virtual std::unique_ptr<CapturedCalls> capture(const std::function<void()>& calls) {
    calls();
    return nullptr;
  }

  /// Waits until the device has done all that it was asked to do.
  virtual void synchronize() = 0;

  // --- memory ---
  void copy_from_host(const kernel::CopyFromHost& args) { run(args); }
  void copy_to_host(const kernel::CopyToHost& args) { run(args); }
  void copy(const kernel::Copy& args) { run(args); }
  void fill(const kernel::Fill& args) { run(args); }
  void strided_copy(const kernel::StridedCopy& args) { run(args); }

  // --- random ---
  void uniform(const kernel::Uniform& args) { run(args); }
  void normal(const kernel::Normal& args) { run(args); }
  void dropout(const kernel::Dropout& args) { run(args); }

  // --- products ---
  void matmul(const kernel::Matmul& args) { run(args); }

  // --- elementwise ---
  void add(const kernel::Add& args) { run(args); }
  void mul(const kernel::Mul& args) { run(args); }
  void scale(const kernel::Scale& args) { run(args); }
  void add_scaled(const kernel::AddScaled& args) { run(args); }
  void pointwise(const kernel::Pointwise& args) { run(args); }
  void activate(const kernel::Activate& args) { run(args); }
  void activate_backward(const kernel::ActivateBackward& args) { run(args); }

  // --- reductions ---
  void sum(const kernel::Sum& args) { run(args); }
  void repeat(const kernel::Repeat& args) { run(args); }
  void dot(const kernel::Dot& args) { run(args); }

  // --- rows ---
  void softmax(const kernel::Softmax& args) { run(args); }
  void softmax_backward(const kernel::SoftmaxBackward& args) { run(args); }
  void norm(const kernel::Norm& args) { run(args); }
  void norm_backward(const kernel::NormBackward& args) { run(args); }
  void rope(const kernel::Rope& args) { run(args); }

  // --- embedding and loss ---
  void embedding(const kernel::Embedding& args) { run(args); }
  void embedding_backward(const kernel::EmbeddingBackward& args) { run(args); }
  void target_share(const kernel::TargetShare& args) { run(args); }
  void sample_targets(const kernel::SampleTargets& args) { run(args); }
  void cross_entropy(const kernel::CrossEntropy& args) { run(args); }
  void cross_entropy_backward(const kernel::CrossEntropyBackward& args) { run(args); }

  // --- attention ---
  void attention(const kernel::Attention& args) { run(args); }
  void attention_backward(const kernel::AttentionBackward& args) { run(args); }
  void attention_metric(const kernel::AttentionMetric& args) { run(args); }
  void segments(const kernel::Segments& args) { run(args); }
  void prefix_attention(const kernel::PrefixAttention& args) { run(args); }
  void prefix_attention_backward(const kernel::PrefixAttentionBackward& args) { run(args); }

  // --- update ---
  void clip_factor(const kernel::ClipFactor& args) { run(args); }
  void update(const kernel::Update& args) { run(args); }
  void directed_step(const kernel::DirectedStep& args) { run(args); }

 protected:
  virtual MemoryPools& own_memory() = 0;

  virtual void compute(const kernel::CopyFromHost& args) = 0;
  virtual void compute(const kernel::CopyToHost& args) = 0;
  virtual void compute(const kernel::Copy& args) = 0;
  virtual void compute(const kernel::Fill& args) = 0;
  virtual void compute(const kernel::StridedCopy& args) = 0;

  virtual void compute(const kernel::Uniform& args) = 0;
  virtual void compute(const kernel::Normal& args) = 0;
  virtual void compute(const kernel::Dropout& args) = 0;

  virtual void compute(const kernel::Matmul& args) = 0;

  virtual void compute(const kernel::Add& args) = 0;
  virtual void compute(const kernel::Mul& args) = 0;
  virtual void compute(const kernel::Scale& args) = 0;
  virtual void compute(const kernel::AddScaled& args) = 0;
  virtual void compute(const kernel::Pointwise& args) = 0;
  virtual void compute(const kernel::Activate& args) = 0;
  virtual void compute(const kernel::ActivateBackward& args) = 0;

  virtual void compute(const kernel::Sum& args) = 0;
  virtual void compute(const kernel::Repeat& args) = 0;
  virtual void compute(const kernel::Dot& args) = 0;

  virtual void compute(const kernel::Softmax& args) = 0;
  virtual void compute(const kernel::SoftmaxBackward& args) = 0;
  virtual void compute(const kernel::Norm& args) = 0;
  virtual void compute(const kernel::NormBackward& args) = 0;
  virtual void compute(const kernel::Rope& args) = 0;

  virtual void compute(const kernel::Embedding& args) = 0;
  virtual void compute(const kernel::EmbeddingBackward& args) = 0;
  virtual void compute(const kernel::TargetShare& args) = 0;
  virtual void compute(const kernel::SampleTargets& args) = 0;
  virtual void compute(const kernel::CrossEntropy& args) = 0;
  virtual void compute(const kernel::CrossEntropyBackward& args) = 0;

  virtual void compute(const kernel::Attention& args) = 0;
  virtual void compute(const kernel::AttentionBackward& args) = 0;
  virtual void compute(const kernel::AttentionMetric& args) = 0;
  virtual void compute(const kernel::Segments& args) = 0;
  virtual void compute(const kernel::PrefixAttention& args) = 0;
  virtual void compute(const kernel::PrefixAttentionBackward& args) = 0;

  virtual void compute(const kernel::ClipFactor& args) = 0;
  virtual void compute(const kernel::Update& args) = 0;
  virtual void compute(const kernel::DirectedStep& args) = 0;

  /// Whether a kernel has done its work when it returns, so that a profile can time it.
  virtual bool computes_at_once() const { return true; }

 private:
  friend DryRun;

  std::map<std::pair<std::string, DType>, double> matmul_peaks_;
  MemoryPools* dry_memory_ = nullptr;  // of the dry run under way

  template <class Args>
  void run(const Args& args) {
    const kernel::Call call = check(args, device());
    if (dry_memory_ != nullptr) return;
    std::optional<profile::Span> span;
    if (profile::active() && computes_at_once()) span.emplace(describe(call, args));
    compute(args);
  }
};

using BackendFactory = std::function<std::unique_ptr<Backend>(int index)>;
/// From now on GPUs that have not been used yet get their backends from `make`: an emulated device, in tests.
void make_cuda_backends_with(BackendFactory make);

}  // namespace monge
