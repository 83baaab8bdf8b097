// Profile: where the time of a stretch of the program goes, as spans that nest: phases, and in them kernel calls.
//
//   profile::start();
//   {
//     const profile::Span span("forward");  // a phase, marked by who knows it
//     loss = model.loss(inputs, targets);   // kernel calls, marked by the devices (backend_of)
//   }
//   for (const profile::Event& event : profile::stop()) ...
//
// There is one profile per process. While none is active a Span is one load of a flag. Kernel calls on a GPU are not
// marked: they return before the device has done its work. Thread-safe.
#pragma once

#include <chrono>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

namespace monge::profile {

using Clock = std::chrono::steady_clock;

/// A tensor of a kernel call: how often each element is at least read or written.
struct Operand {
  const char* name = nullptr;
  Shape shape;
  DType dtype = DType::f32;
  int passes = 1;  // 2 where it is updated in place

  double bytes() const { return passes * static_cast<double>(shape.numel()) * static_cast<double>(size_of(dtype)); }
};

/// What a kernel was asked to do.
struct KernelCall {
  const char* name = nullptr;
  std::vector<Operand> operands;
  double flops = 0.0;  // of its products; 0 for kernels that only pass over memory

  /// Moved at least: every operand once, or as often as it says.
  double bytes() const;
};

struct Event {
  const char* name = nullptr;  // "forward", "matmul"
  int thread = 0;              // 0: that of start(); the others count from 1
  Clock::time_point begin, end;
  KernelCall call;  // of a kernel; name null for a phase

  bool is_kernel() const { return call.name != nullptr; }
};

/// Throws std::invalid_argument when a profile is active.
void start();
bool active();
/// Ends the active profile and returns its events, in the order in which they ended.
std::vector<Event> stop();

/// From construction to destruction: one event of the profile that is active at both, and nothing without one.
class Span {
 public:
  /// `phase` outlives the profile: a literal.
  explicit Span(const char* phase) : Span(phase, {}) {}
  explicit Span(KernelCall call) : Span(call.name, std::move(call)) {}
  ~Span();
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Span(const char* name, KernelCall&& call);

  const char* name_ = nullptr;  // null: no profile was active
  KernelCall call_;
  Clock::time_point begin_;
};

}  // namespace monge::profile
