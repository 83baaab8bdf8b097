// The table of devices: which backends this build has, and one instance of each.
#include "core/backend.h"

#include <charconv>
#include <map>
#include <mutex>

#include "core/cpu/cpu_backend.h"
#include "core/cuda/make_backend.h"
#include "core/error.h"
#include "core/machine.h"
#include "core/reference/reference_backend.h"

namespace monge {

std::string Device::str() const {
  switch (kind) {
    case DeviceKind::reference: return "reference";
    case DeviceKind::cpu: return "cpu";
    case DeviceKind::cuda: return index == 0 ? "cuda" : fmt::format("cuda:{}", index);
  }
  return "?";
}

Device parse_device(std::string_view name) {
  if (name == "cpu") return {DeviceKind::cpu, 0};
  if (name == "reference") return {DeviceKind::reference, 0};
  if (name == "cuda") return {DeviceKind::cuda, 0};
  if (name.starts_with("cuda:")) {
    int index = 0;
    const auto digits = name.substr(5);
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (problem == std::errc{} && end == digits.data() + digits.size() && index >= 0) return {DeviceKind::cuda, index};
  }
  throw InputError(fmt::format("unknown device '{}'; allowed: cpu, cuda, cuda:N, reference", name));
}

namespace {

/// The backends of the GPUs, by index; made on first use.
class CudaBackends {
 public:
  Backend& operator[](int index) {
    const std::lock_guard lock(mutex_);
    auto& backend = made_[index];
    if (backend == nullptr) backend = make_(index);
    return *backend;
  }
  void make_with(BackendFactory make) {
    const std::lock_guard lock(mutex_);
    make_ = std::move(make);
  }

 private:
  static std::unique_ptr<Backend> make(int index) {
#if defined(MONGE_CUDA)
    return cuda::make_backend(index);
#else
    throw InputError(
        fmt::format("device '{}': this build of Monge has no CUDA; build it with "
                    "tools/build.sh -DMONGE_CUDA=ON, or use device: cpu",
                    Device{DeviceKind::cuda, index}.str()));
#endif
  }

  std::mutex mutex_;
  std::map<int, std::unique_ptr<Backend>> made_;
  BackendFactory make_ = make;
};

CudaBackends& cuda_backends() {
  static auto* const backends = new CudaBackends;
  return *backends;
}

}  // namespace

void make_cuda_backends_with(BackendFactory make) { cuda_backends().make_with(std::move(make)); }

Backend& backend_of(Device device) {
  // Backends live as long as the process: tensors with static lifetime may outlast any destructor order.
  switch (device.kind) {
    case DeviceKind::reference: {
      static Backend* const reference = make_reference_backend().release();
      return *reference;
    }
    case DeviceKind::cpu: {
      static Backend* const cpu = make_cpu_backend().release();
      return *cpu;
    }
    case DeviceKind::cuda: return cuda_backends()[device.index];
  }
  throw std::invalid_argument("unknown device");
}

double Backend::matmul_peak(DType dtype) {
  double& peak = matmul_peaks_[{description(), dtype}];
  if (peak == 0.0) {
    peak = measure_matmul_peak(*this, dtype, 0.05);
    memory().trim();
    memory().reset_peak();
  }
  return peak;
}

}  // namespace monge
