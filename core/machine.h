// What a device reaches, measured: the reference of MFU and of `monge bench`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "core/backend.h"

namespace monge {

/// Seconds of one call of `work`, the best of as many as fit into `seconds`, two at least: kernels are prepared in the
/// first call. Waits for the device after each; a GPU, which a wait leaves idle for some microseconds, gets groups of
/// calls, and the best group counts.
double best_time(Backend& backend, double seconds, const std::function<void()>& work);

/// The best rate of a square matrix product, in FLOP per second (2 n^3 per product). Doubles n until one product takes
/// some milliseconds; every n is repeated for `seconds`. Backend::matmul_peak keeps one for each device.
double measure_matmul_peak(Backend& backend, DType dtype, double seconds);

/// The dense bf16 rate that the maker's data sheet promises, in FLOP per second, for a GPU that `description`, that of
/// its backend, begins with the name of; none for GPUs that are not in the table, and for processors.
std::optional<double> data_sheet_peak(std::string_view description);

/// The best rate of copying a tensor much larger than the caches, in bytes read plus bytes written per second.
double copy_bandwidth(Backend& backend, double seconds = 0.2);

/// The most memory that this process has held in RAM, program and libraries included, in bytes: since the last call of
/// restart_peak_resident, else since its start. 0 where the system has no /proc.
std::size_t peak_resident();
void restart_peak_resident();

/// What the threads of this process have had of the processors so far, and what they had to wait for, ready to run,
/// while something else ran, in seconds of all together. Both 0 where the system has no /proc.
struct ProcessorTime {
  double used = 0.0, waited = 0.0;
};
ProcessorTime processor_time();

}  // namespace monge
