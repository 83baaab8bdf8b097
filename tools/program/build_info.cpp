#include "tools/program/build_info.h"

#include <fmt/format.h>

#include "core/options/registry.h"
#include "numerics.h"  // made by the build
#include "train/checkpoint/checksum.h"

namespace monge::tools {
namespace {

std::string program_text() {
  return fmt::format("program {}", train::checksum_text(train::file_checksum("/proc/self/exe")));
}

}  // namespace

const std::string& build_text() {
  static const std::string text = fmt::format("{}, {}", numerics_text(), program_text());
  return text;
}

const std::string& numerics_text() {
  static const std::string text =
      fmt::format("{}, numerics {}{}", MONGE_BUILD, MONGE_NUMERICS,
                  RegistryBase::own_kinds().empty() ? "" : fmt::format(", {}", program_text()));
  return text;
}

}  // namespace monge::tools
