#include "core/machine.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

namespace monge {

double best_time(Backend& backend, double seconds, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
  const auto time_group = [&](std::int64_t calls) {
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < calls; ++i) work();
    backend.synchronize();
    return since(begin) / static_cast<double>(calls);
  };
  constexpr double group_seconds = 2e-3, most_calls = 200.0;
  const auto start = Clock::now();
  time_group(1);
  double best = time_group(1);
  const bool grouped = backend.device().kind == DeviceKind::cuda;
  const auto calls = grouped ? static_cast<std::int64_t>(std::clamp(group_seconds / best, 1.0, most_calls)) : 1;
  while (since(start) < seconds) best = std::min(best, time_group(calls));
  return best;
}

double measure_matmul_peak(Backend& backend, DType dtype, double seconds) {
  constexpr std::int64_t smallest = 512, largest = 8192;
  constexpr double long_enough = 4e-3;
  double peak = 0.0;
  for (std::int64_t n = smallest; n <= largest; n *= 2) {
    const Device device = backend.device();
    const Tensor a = Tensor::empty({n, n}, dtype, device, Pool::scratch);
    const Tensor b = Tensor::empty({n, n}, dtype, device, Pool::scratch);
    const Tensor c = Tensor::empty({n, n}, dtype, device, Pool::scratch);
    backend.normal({.x = a, .random = {}});
    backend.normal({.x = b, .random = {}});
    const double size = static_cast<double>(n);
    const double time = best_time(backend, seconds, [&] { backend.matmul({.a = a, .b = b, .out = c}); });
    peak = std::max(peak, 2.0 * size * size * size / time);
    // At least two sizes: a busy moment must not pass for the machine's peak.
    if (n > smallest && time > long_enough) break;
  }
  return peak;
}

std::optional<double> data_sheet_peak(std::string_view description) {
  struct Entry {
    std::string_view name;
    double rate;
  };
  // Without sparsity. The first that fits counts: the forms for PCIe slots are slower than those for SXM sockets.
  constexpr Entry table[] = {
      {"NVIDIA H100 PCIe", 756e12}, {"NVIDIA H100 NVL", 835e12}, {"NVIDIA H200 NVL", 835e12}, {"NVIDIA H200", 989e12},
      {"NVIDIA GH200", 989e12},     {"NVIDIA H100", 989e12},     {"NVIDIA A100", 312e12},
  };
  for (const Entry& entry : table) {
    if (description.starts_with(entry.name)) return entry.rate;
  }
  return std::nullopt;
}

double copy_bandwidth(Backend& backend, double seconds) {
  constexpr std::int64_t n = std::int64_t{1} << 25;
  const Tensor from = Tensor::zeros({n}, backend.default_float(), backend.device(), Pool::scratch);
  const Tensor to = Tensor::zeros({n}, backend.default_float(), backend.device(), Pool::scratch);
  const double time = best_time(backend, seconds, [&] { backend.copy({.from = from, .to = to}); });
  return 2.0 * static_cast<double>(from.bytes()) / time;
}

std::size_t peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(line.find(':') + 1)) * 1024;  // "VmHWM:  1234 kB"
  }
  return 0;
}

void restart_peak_resident() { std::ofstream("/proc/self/clear_refs") << "5"; }

ProcessorTime processor_time() {
  ProcessorTime sum;
  std::error_code error;
  for (std::filesystem::directory_iterator thread("/proc/self/task", error), end; !error && thread != end;
       thread.increment(error)) {
    std::ifstream schedule(thread->path() / "schedstat");  // nanoseconds: on a processor, waiting for one
    double used = 0.0, waited = 0.0;
    if (!(schedule >> used >> waited)) continue;
    sum.used += 1e-9 * used;
    sum.waited += 1e-9 * waited;
  }
  return sum;
}

}  // namespace monge
