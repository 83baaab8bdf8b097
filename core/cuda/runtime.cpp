#include "core/cuda/runtime.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"

namespace monge::MONGE_GPU {
namespace {

constexpr int least_architecture = 80;

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

/// "driver 12.4, toolkit 13.0": what each of the two speaks.
std::string versions() {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  return fmt::format("driver {}, toolkit {}", driver == 0 ? "none" : "for CUDA " + version_text(driver),
                     version_text(runtime));
}

cudaDeviceProp open_device(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    throw InputError(
        fmt::format("device 'cuda': the driver is missing or too old for this build ({}); install a newer "
                    "driver or use device: cpu",
                    versions()));
  }
  if (status != cudaSuccess || count == 0) {
    throw InputError(fmt::format("device 'cuda': this machine shows no GPU ({}; {}); use device: cpu",
                                 status == cudaSuccess ? "no device" : cudaGetErrorString(status), versions()));
  }
  if (index >= count) {
    throw InputError(fmt::format("device 'cuda:{}': this machine has {} GPU{}; allowed: cuda{}", index, count,
                                 count == 1 ? "" : "s", count == 1 ? "" : fmt::format(", up to cuda:{}", count - 1)));
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index));
  if (properties.major * 10 + properties.minor < least_architecture) {
    throw InputError(
        fmt::format("device 'cuda:{}': {} has compute capability {}.{}; the kernels need 8.0 or newer. Use device: cpu",
                    index, properties.name, properties.major, properties.minor));
  }
  return properties;
}

/// Host memory that the device reads directly, and its place on the device: one upload in flight.
class Slot {
 public:
  static constexpr std::size_t capacity = std::size_t{1} << 20;

  Slot() {
    check(cudaMallocHost(&pinned_, capacity));
    check(cudaMalloc(&staged_, capacity));
    for (cudaEvent_t* event : {&arrived_, &consumed_}) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
  }

  /// The copy stream carries the bytes to the device while the compute stream is still busy with earlier work; the
  /// compute stream then puts them in place.
  void send(const void* from, void* to, std::size_t bytes, cudaStream_t copies, cudaStream_t compute) {
    check(cudaEventSynchronize(consumed_));  // the last user of this slot; long gone, unless uploads come in a burst
    std::memcpy(pinned_, from, bytes);
    check(cudaMemcpyAsync(staged_, pinned_, bytes, cudaMemcpyHostToDevice, copies));
    check(cudaEventRecord(arrived_, copies));
    check(cudaStreamWaitEvent(compute, arrived_));
    check(cudaMemcpyAsync(to, staged_, bytes, cudaMemcpyDeviceToDevice, compute));
    check(cudaEventRecord(consumed_, compute));
  }

 private:
  void* pinned_ = nullptr;
  void* staged_ = nullptr;
  cudaEvent_t arrived_ = nullptr, consumed_ = nullptr;
};

class CapturedGraph final : public Graph {
 public:
  CapturedGraph(cudaGraph_t graph, const Runtime& runtime) : runtime_(runtime) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status);
  }
  ~CapturedGraph() override { cudaGraphExecDestroy(executable_); }
  void launch() override { check(cudaGraphLaunch(executable_, runtime_.stream())); }

 private:
  cudaGraphExec_t executable_ = nullptr;
  const Runtime& runtime_;
};

}  // namespace

void check(cudaError_t status, std::source_location where) {
  if (status == cudaSuccess) [[likely]] {
    return;
  }
  cudaGetLastError();  // or the next launch would report it as its own
  const char* const file = std::strrchr(where.file_name(), '/');
  throw RunError(
      fmt::format("cuda: {} ({}), noticed at {}:{}; kernels run late, so an earlier one may be the cause "
                  "(CUDA_LAUNCH_BLOCKING=1 shows which)",
                  cudaGetErrorString(status), cudaGetErrorName(status), file == nullptr ? where.file_name() : file + 1,
                  where.line()));
}

struct Runtime::Implementation {
  int index = 0;
  cudaDeviceProp properties{};
  cudaStream_t compute = nullptr, copies = nullptr;
  // A step uploads three tensors for each micro-batch and one more; with slots to spare the host prepares the next step
  // during this one.
  std::array<Slot, 32> slots;
  std::size_t next_slot = 0;
};

// Backends live as long as the process, so streams and slots are never given back.
Runtime::Runtime(int index) {
  const cudaDeviceProp properties = open_device(index);
  check(cudaSetDevice(index));
  implementation_ = std::make_unique<Implementation>();
  implementation_->index = index;
  implementation_->properties = properties;
  check(cudaStreamCreateWithFlags(&implementation_->compute, cudaStreamNonBlocking));
  check(cudaStreamCreateWithFlags(&implementation_->copies, cudaStreamNonBlocking));
  architecture_ = properties.major * 10 + properties.minor;
}

Runtime::~Runtime() = default;

std::string Runtime::description() const {
  const cudaDeviceProp& p = implementation_->properties;
  return fmt::format("{} (sm_{}, {} multiprocessors, {:.0f} GiB), {}", p.name, architecture_, p.multiProcessorCount,
                     static_cast<double>(p.totalGlobalMem) / 1073741824.0, versions());
}

Stream Runtime::stream() const {
  make_current();
  return implementation_->compute;
}

void Runtime::make_current() const { check(cudaSetDevice(implementation_->index)); }

void* Runtime::allocate(std::size_t bytes) {
  make_current();
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the pools trim and ask again
    return nullptr;
  }
  check(status);
  return block;
}

void Runtime::release(void* block) {
  make_current();
  check(cudaFree(block));
}

void Runtime::upload(const void* from, void* to, std::size_t bytes) {
  require(!capturing_, "[copy_from_host] host data cannot be part of a recorded step");
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  for (std::size_t sent = 0; sent < bytes;) {
    const std::size_t part = std::min(Slot::capacity, bytes - sent);
    Slot& slot = implementation_->slots[implementation_->next_slot++ % implementation_->slots.size()];
    slot.send(source + sent, target + sent, part, implementation_->copies, stream());
    sent += part;
  }
}

void Runtime::download(const void* from, void* to, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()));
  check(cudaStreamSynchronize(stream()));
}

void Runtime::copy(const void* from, void* to, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()));
}

void Runtime::zero(void* to, std::size_t bytes) { check(cudaMemsetAsync(to, 0, bytes, stream())); }

void Runtime::synchronize() { check(cudaStreamSynchronize(stream())); }

std::unique_ptr<Graph> Runtime::capture(const std::function<void()>& enqueue) {
  cudaGraph_t graph = nullptr;
  // Global mode: any call that would wait for the device or take memory from it makes the capture fail.
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeGlobal));
  capturing_ = true;
  try {
    enqueue();
  } catch (...) {
    capturing_ = false;
    cudaStreamEndCapture(stream(), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  capturing_ = false;
  check(cudaStreamEndCapture(stream(), &graph));
  return std::make_unique<CapturedGraph>(graph, *this);
}

}  // namespace monge::MONGE_GPU
