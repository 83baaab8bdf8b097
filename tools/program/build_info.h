// What this program was built from and by.
#pragma once

#include <string>

namespace monge::tools {

/// "Monge 0.1.0, GNU 12.2.0, Release -O2 -DNDEBUG, program 0123456789abcdef": the last is a checksum of the file that
/// runs, so that two texts are equal only when the programs are. Throws InputError when that cannot be read.
const std::string& build_text();

}  // namespace monge::tools
