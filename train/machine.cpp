#include "train/machine.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <limits>

namespace monge::train {

void use_threads(std::int64_t threads) {
  if (threads > 0) omp_set_num_threads(static_cast<int>(threads));
}

double best_time(Backend& backend, double seconds, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  double best = std::numeric_limits<double>::infinity();
  const auto start = Clock::now();
  for (int calls = 0; calls < 2 || since(start) < seconds; ++calls) {
    const auto begin = Clock::now();
    work();
    backend.synchronize();
    best = std::min(best, since(begin));
  }
  return best;
}

double matmul_peak(Backend& backend, DType dtype, double seconds) {
  constexpr std::int64_t smallest = 512, largest = 8192;
  constexpr double long_enough = 4e-3;
  double peak = 0.0;
  for (std::int64_t n = smallest; n <= largest; n *= 2) {
    const Device device = backend.device();
    const Tensor a = Tensor::empty({n, n}, dtype, device, Pool::scratch);
    const Tensor b = Tensor::empty({n, n}, dtype, device, Pool::scratch);
    const Tensor c = Tensor::empty({n, n}, dtype, device, Pool::scratch);
    backend.normal(a, 0.0, 1.0, {});
    backend.normal(b, 0.0, 1.0, {});
    const double size = static_cast<double>(n);
    const double time = best_time(backend, seconds, [&] { backend.matmul({.a = a, .b = b, .out = c}); });
    peak = std::max(peak, 2.0 * size * size * size / time);
    // At least two sizes: a busy moment must not pass for the machine's peak.
    if (n > smallest && time > long_enough) break;
  }
  return peak;
}

double copy_bandwidth(Backend& backend, double seconds) {
  constexpr std::int64_t n = std::int64_t{1} << 25;
  const Tensor from = Tensor::zeros({n}, backend.default_float(), backend.device(), Pool::scratch);
  const Tensor to = Tensor::zeros({n}, backend.default_float(), backend.device(), Pool::scratch);
  const double time = best_time(backend, seconds, [&] { backend.copy(from, to); });
  return 2.0 * static_cast<double>(from.bytes()) / time;
}

}  // namespace monge::train
