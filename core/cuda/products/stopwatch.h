// Stopwatch: how long the device takes for what is enqueued on a stream.
#pragma once

#include <functional>

#include "core/cuda/gpu.h"

namespace monge::MONGE_GPU {

/// Waits for the device, so it has no place in a recorded step.
class Stopwatch {
 public:
  explicit Stopwatch(Stream stream) : stream_(stream) {
    for (cudaEvent_t* event : {&begin_, &end_}) check(cudaEventCreate(event));
  }
  ~Stopwatch() {
    for (cudaEvent_t event : {begin_, end_}) cudaEventDestroy(event);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  /// Milliseconds of one run of `work`: the best of several rounds.
  float time(const std::function<void()>& work) const {
    constexpr int rounds = 5, runs = 4;
    work();
    float best = 0.0f;
    for (int round = 0; round < rounds; ++round) {
      check(cudaEventRecord(begin_, stream_));
      for (int i = 0; i < runs; ++i) work();
      check(cudaEventRecord(end_, stream_));
      check(cudaEventSynchronize(end_));
      float elapsed = 0.0f;
      check(cudaEventElapsedTime(&elapsed, begin_, end_));
      if (round == 0 || elapsed < best) best = elapsed;
    }
    return best / runs;
  }

 private:
  Stream stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace monge::MONGE_GPU
