#if defined(MONGE_CUDNN)
#include "core/cuda/cudnn/sdpa.h"

#include <map>
#include <optional>

#include "core/cuda/cudnn/sdpa_graph.h"

namespace monge::MONGE_GPU {
namespace {

/// Sequences [first, first + count) of a call.
HeadView part(HeadView view, std::int64_t first) {
  view.offset += first * view.batch_stride;
  return view;
}
kernel::AttentionBackward part(kernel::AttentionBackward args, std::int64_t first, std::int64_t count) {
  kernel::Attention& a = args.forward;
  for (HeadView* view : {&a.q, &a.k, &a.v, &a.out, &args.dout, &args.dq, &args.dk, &args.dv}) {
    *view = part(*view, first);
  }
  a.batch = count;
  a.row_stat = a.row_stat.slice(first, first + count);
  return args;
}

void* memory_of(const HeadView& view) { return view.data.data_as<bf16>() + view.offset; }

/// The memory that forward and backward share.
std::map<std::int64_t, void*> memory_of(const kernel::Attention& a) {
  std::map<std::int64_t, void*> memory{{sdpa_uid::q, memory_of(a.q)},
                                       {sdpa_uid::k, memory_of(a.k)},
                                       {sdpa_uid::v, memory_of(a.v)},
                                       {sdpa_uid::out, memory_of(a.out)},
                                       {sdpa_uid::row_stat, a.row_stat.data()}};
  if (a.prior.slopes) memory[sdpa_uid::slopes] = a.prior.slopes.data();
  return memory;
}

/// A plan or why there is none.
struct Support {
  std::optional<CudnnPlan> plan;
  std::string refusal;
};

}  // namespace

struct Sdpa::Implementation {
  Implementation(Runtime& device, MemoryPools& pools, std::int64_t most)
      : runtime(device), memory(pools), most_score_bytes(most) {
    runtime.make_current();
    const cudnnStatus_t status = cudnnCreate(&handle);
    if (status != CUDNN_STATUS_SUCCESS) {
      problem = fmt::format("cuDNN does not start: {}", cudnnGetErrorString(status));
    }
  }
  ~Implementation() {
    if (handle != nullptr) cudnnDestroy(handle);
  }

  /// The handle on the compute stream, with its device as the current one, which cuDNN takes for granted.
  cudnnHandle_t on_stream() const {
    check_cudnn(cudnnSetStream(handle, runtime.stream()), "set the stream");
    return handle;
  }

  /// Whether a shape is supported; at its first use `compare` is asked whether the plan computes what it should.
  template <class Shape>
  const Support& support_for(std::map<Shape, Support>& known, const Shape& shape,
                             const std::function<std::string(const CudnnPlan&)>& compare) {
    Support support;
    try {
      support.plan.emplace(sdpa_graph(shape), CudnnDevice(on_stream()));
      const std::string differs = compare(*support.plan);
      support.refusal = differs.empty() ? "" : fmt::format("{} gives other results: {}", version(), differs);
    } catch (const CudnnError& e) {
      support.refusal = e.what();
    }
    return known.emplace(shape, std::move(support)).first->second;
  }

  /// Sequences that one backward takes at a time: a divisor of the batch.
  std::int64_t part_of(const kernel::Attention& a) const {
    const std::int64_t bytes = 2 * a.heads * a.queries * a.queries;
    std::int64_t count = a.batch;
    while (count > 1 && (a.batch % count != 0 || count * bytes > most_score_bytes)) --count;
    return count;
  }

  void run(const CudnnPlan& plan, const kernel::Attention& args) {
    const auto workspace = scratch(plan.workspace_bytes());
    plan.run(on_stream(), memory_of(args), workspace.get());
  }

  void run(const CudnnPlan& plan, const kernel::AttentionBackward& args) {
    auto given = memory_of(args.forward);
    given[sdpa_uid::dout] = memory_of(args.dout);
    given[sdpa_uid::dq] = memory_of(args.dq);
    given[sdpa_uid::dk] = memory_of(args.dk);
    given[sdpa_uid::dv] = memory_of(args.dv);
    const auto row_sum = scratch(static_cast<std::int64_t>(args.forward.row_stat.bytes()));
    given[sdpa_uid::row_sum] = row_sum.get();
    const auto workspace = scratch(plan.workspace_bytes());
    plan.run(on_stream(), given, workspace.get());
  }

  std::shared_ptr<void> scratch(std::int64_t bytes) {
    return bytes == 0 ? nullptr : memory.allocate(static_cast<std::size_t>(bytes), Pool::scratch);
  }

  static std::string version() {
    const std::size_t v = cudnnGetVersion();
    return fmt::format("cuDNN {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
  }

  Runtime& runtime;
  MemoryPools& memory;
  const std::int64_t most_score_bytes;
  cudnnHandle_t handle = nullptr;
  std::string problem;
  std::map<SdpaForward, Support> forwards;
  std::map<SdpaBackward, Support> backwards;
};

Sdpa::Sdpa(Runtime& runtime, MemoryPools& memory, std::int64_t most_score_bytes)
    : implementation_(std::make_unique<Implementation>(runtime, memory, most_score_bytes)) {}
Sdpa::~Sdpa() = default;

std::string Sdpa::refusal(const kernel::Attention& args, const AttentionCall& reference) {
  Implementation& self = *implementation_;
  if (!self.problem.empty()) return self.problem;
  if (auto limit = sdpa_limit(args, cudnnGetVersion()); !limit.empty()) return limit;
  const SdpaForward shape = sdpa_forward(args);
  if (const auto found = self.forwards.find(shape); found != self.forwards.end()) return found->second.refusal;
  if (self.runtime.capturing()) return "this shape was not planned before the capture";
  const auto compare = [&](const CudnnPlan& plan) {
    return disagreement(
        args, [&](const kernel::Attention& call) { self.run(plan, call); }, reference);
  };
  return self.support_for<SdpaForward>(self.forwards, shape, compare).refusal;
}

std::string Sdpa::refusal(const kernel::AttentionBackward& args, const AttentionCall& forward,
                          const AttentionBackwardCall& reference) {
  Implementation& self = *implementation_;
  if (!self.problem.empty()) return self.problem;
  if (auto limit = sdpa_limit(args, cudnnGetVersion(), self.runtime.architecture()); !limit.empty()) return limit;
  const kernel::AttentionBackward first = part(args, 0, self.part_of(args.forward));
  const SdpaBackward shape = sdpa_backward(first);
  if (const auto found = self.backwards.find(shape); found != self.backwards.end()) return found->second.refusal;
  if (self.runtime.capturing()) return "this shape was not planned before the capture";
  const auto compare = [&](const CudnnPlan& plan) {
    return disagreement(
        first, forward, [&](const kernel::AttentionBackward& call) { self.run(plan, call); }, reference);
  };
  return self.support_for<SdpaBackward>(self.backwards, shape, compare).refusal;
}

void Sdpa::forward(const kernel::Attention& args) {
  const auto found = implementation_->forwards.find(sdpa_forward(args));
  if (found == implementation_->forwards.end() || !found->second.refusal.empty()) {
    throw std::logic_error("[sdpa] a refused call was made");
  }
  implementation_->run(*found->second.plan, args);
}

void Sdpa::backward(const kernel::AttentionBackward& args) {
  const std::int64_t count = implementation_->part_of(args.forward);
  const auto found = implementation_->backwards.find(sdpa_backward(part(args, 0, count)));
  if (found == implementation_->backwards.end() || !found->second.refusal.empty()) {
    throw std::logic_error("[sdpa] a refused call was made");
  }
  for (std::int64_t first = 0; first < args.forward.batch; first += count) {
    implementation_->run(*found->second.plan, part(args, first, count));
  }
}

std::string Sdpa::version() const { return Implementation::version(); }

}  // namespace monge::MONGE_GPU
#endif
