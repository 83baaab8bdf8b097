// What this program was built from and by.
#pragma once

#include <string>

namespace monge::tools {

/// numerics_text() and a checksum of the file that runs, so that two texts are equal only when the programs are. Throws
/// InputError when that cannot be read.
const std::string& build_text();

/// "Monge 0.1.0, GNU 12.2.0, Release -O2 -DNDEBUG, numerics 0123456789abcdef": the last is a checksum of the sources
/// that can change a number of a training run. A program with kinds of its own adds that of its file.
const std::string& numerics_text();

}  // namespace monge::tools
