#include "simt/cuda_runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "simt/device_memory.h"

namespace monge::simt {
namespace {

cudaError_t last_error = cudaSuccess;
int current_device = 0;
Queue* captured = nullptr;  // the stream under capture
bool capture_failed = false;

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

/// What a call says that waits or takes memory: no, during a capture, which it also spoils.
cudaError_t unless_captured() {
  if (captured == nullptr) return cudaSuccess;
  capture_failed = true;
  return result(cudaErrorStreamCaptureUnsupported);
}

/// Host memory that the device can read: address -> size.
std::map<const std::byte*, std::size_t> pinned_blocks;

bool is_pinned(const void* from, std::size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(from);
  auto block = pinned_blocks.upper_bound(begin);
  if (block == pinned_blocks.begin()) return false;
  --block;
  return begin + bytes <= block->first + block->second;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "the driver is too old";
    case cudaErrorNoDevice: return "there is no device";
    case cudaErrorInvalidDevice: return "there is no such device";
    case cudaErrorStreamCaptureUnsupported: return "not permitted while a stream is captured";
    case cudaErrorStreamCaptureInvalidated: return "a call that is not permitted has spoilt the capture";
  }
  return "?";
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
  }
  return "?";
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

Machine& machine() {
  static Machine one;
  return one;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = machine().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = machine().toolkit;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (machine().driver / 1000 < machine().toolkit / 1000) return result(cudaErrorInsufficientDriver);
  *count = static_cast<int>(machine().devices.size());
  return *count == 0 ? result(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= std::ssize(machine().devices)) return result(cudaErrorInvalidDevice);
  *properties = machine().devices[static_cast<std::size_t>(device)];
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= std::ssize(machine().devices)) return result(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  if (const auto no = unless_captured()) return no;
  const std::size_t all = machine().devices[static_cast<std::size_t>(current_device)].totalGlobalMem;
  *block = device_memory().bytes_taken() + bytes <= all ? device_memory().take(bytes) : nullptr;
  return *block == nullptr ? result(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaFree(void* block) {
  if (const auto no = unless_captured()) return no;
  if (block == nullptr) return cudaSuccess;
  return device_memory().give_back(block) ? cudaSuccess : result(cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  if (const auto no = unless_captured()) return no;
  *block = std::malloc(bytes);
  if (*block == nullptr) return result(cudaErrorMemoryAllocation);
  pinned_blocks[static_cast<std::byte*>(*block)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, Queue* stream) {
  const bool from_device = device_memory().holds(from, bytes), to_device = device_memory().holds(to, bytes);
  const bool possible = kind == cudaMemcpyHostToDevice   ? to_device && is_pinned(from, bytes)
                        : kind == cudaMemcpyDeviceToHost ? from_device && !to_device
                                                         : from_device && to_device;
  const auto *const begin = static_cast<const std::byte*>(from), *const target = static_cast<const std::byte*>(to);
  const bool overlaps = begin < target + bytes && target < begin + bytes;
  if (!possible || overlaps) return result(cudaErrorInvalidValue);
  stream->enqueue([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, Queue* stream) {
  return cudaMemset2DAsync(to, bytes, value, bytes, 1, stream);
}
cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height,
                              Queue* stream) {
  if (width > pitch || !device_memory().holds(to, height == 0 ? 0 : (height - 1) * pitch + width)) {
    return result(cudaErrorInvalidValue);
  }
  stream->enqueue([=] {
    for (std::size_t row = 0; row < height; ++row) std::memset(static_cast<std::byte*>(to) + row * pitch, value, width);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Queue(current_device);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const auto no = unless_captured()) return no;
  ++machine().waits;
  stream->finish();
  return cudaSuccess;
}

bool is_of_current_device(cudaStream_t stream) { return stream->device() == current_device; }

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new Event;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }  // work that is not done yet may mean it
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream->recording()) return unless_captured();
  stream->record(*event);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const auto no = unless_captured()) return no;
  finish(*event);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = static_cast<float>((end->seconds - begin->seconds) * 1e3);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event) {
  if (stream->recording()) return unless_captured();
  stream->wait_for(*event);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const auto no = unless_captured()) return no;
  captured = stream;
  capture_failed = false;
  stream->start_recording();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream != captured) return result(cudaErrorInvalidValue);
  captured = nullptr;
  auto work = stream->stop_recording();
  if (capture_failed) return result(cudaErrorStreamCaptureInvalidated);
  *graph = new std::vector<Queue::Work>(std::move(work));
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new std::vector<Queue::Work>(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const Queue::Work& work : *executable) stream->enqueue(work);
  return cudaSuccess;
}

}  // namespace monge::simt
