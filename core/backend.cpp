// The table of devices: which backends this build has, and one instance of each.
#include "core/backend.h"

#include <array>
#include <charconv>
#include <map>
#include <mutex>

#include "core/cpu/cpu_backend.h"
#include "core/cuda/make_backend.h"
#include "core/error.h"
#include "core/profile/profile.h"
#include "core/profile/profiled_backend.h"
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

/// A backend that runs in the caller's time, and what stands for it while a profile is under way.
struct HostBackend {
  explicit HostBackend(std::unique_ptr<Backend> made)
      : plain(std::move(made)), marked(profile::make_profiled(*plain)) {}
  Backend& now() const { return profile::recording() ? *marked : *plain; }

  std::unique_ptr<Backend> plain, marked;
};

}  // namespace

void make_cuda_backends_with(BackendFactory make) { cuda_backends().make_with(std::move(make)); }

Backend& backend_of(Device device) {
  // Backends live as long as the process: tensors with static lifetime may outlast any destructor order.
  switch (device.kind) {
    case DeviceKind::reference: {
      static const auto* const reference = new HostBackend(make_reference_backend());
      return reference->now();
    }
    case DeviceKind::cpu: {
      static const auto* const cpu = new HostBackend(make_cpu_backend());
      return cpu->now();
    }
    case DeviceKind::cuda: return cuda_backends()[device.index];
  }
  throw std::invalid_argument("unknown device");
}

std::string_view name_of(Activation activation) {
  constexpr std::array<std::string_view, 4> names{"none", "gelu", "gelu_tanh", "silu"};
  return names[static_cast<std::size_t>(activation)];
}

}  // namespace monge
