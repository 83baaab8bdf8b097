#include "tools/program/build_info.h"

#include <fmt/format.h>

#include "train/checkpoint/checksum.h"

namespace monge::tools {

const std::string& build_text() {
  static const std::string text =
      fmt::format("{}, program {}", MONGE_BUILD, train::checksum_text(train::file_checksum("/proc/self/exe")));
  return text;
}

}  // namespace monge::tools
