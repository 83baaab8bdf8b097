// The part of CUDA's runtime that core/cuda uses, for the emulated device: the same names and the same meaning. What
// CUDA leaves open, such as the pace of the device, may turn out badly here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt/queue.h"
#include "simt/vector_types.h"

namespace monge::simt {

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorMemoryAllocation,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorInvalidDevice,
  cudaErrorStreamCaptureUnsupported,
  cudaErrorStreamCaptureInvalidated,
};
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();

// --- the machine ---

struct cudaDeviceProp {
  char name[256] = "emulated GPU";
  std::size_t totalGlobalMem = std::size_t{1} << 40;
  int major = 8, minor = 0, multiProcessorCount = 1;
};

/// The machine that there seems to be; tests may change it.
struct Machine {
  int driver = 13000, toolkit = 13000;  // versions as CUDA gives them; driver 0: none
  std::vector<cudaDeviceProp> devices{1};
  std::int64_t waits = 0;  // how often the host has waited for a stream
};
Machine& machine();

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);

// --- memory (device_memory.h) ---

cudaError_t cudaMalloc(void** block, std::size_t bytes);
cudaError_t cudaFree(void* block);
cudaError_t cudaMallocHost(void** block, std::size_t bytes);

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
/// Host memory must be pinned on the way to the device, and places must not overlap.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, Queue* stream);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, Queue* stream);
cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height,
                              Queue* stream);

// --- streams and events ---

using cudaStream_t = Queue*;
inline constexpr unsigned cudaStreamNonBlocking = 1;
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
/// Whether kernels and libraries may put work on it.
bool is_of_current_device(cudaStream_t stream);

using cudaEvent_t = Event*;
inline constexpr unsigned cudaEventDisableTiming = 2;
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event);

// --- graphs: while a stream is captured, nothing may wait for the device or ask it for memory ---

using cudaGraph_t = std::vector<Queue::Work>*;
using cudaGraphExec_t = const std::vector<Queue::Work>*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);

}  // namespace monge::simt
