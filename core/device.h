// Device: where a tensor lives, as a name ("cpu", "reference", "cuda:1").
#pragma once

#include <string>
#include <string_view>

namespace monge {

class Backend;

enum class DeviceKind { reference, cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
  std::string str() const;
};

/// Parses "cpu", "reference", "cuda" or "cuda:N". Throws InputError naming what is allowed.
Device parse_device(std::string_view name);

/// The one backend of a device, made on first use; thread-safe. Throws InputError when this build or machine lacks it.
Backend& backend_of(Device device);

}  // namespace monge
