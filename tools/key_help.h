// The keys of options as the end of a command's --help.
#pragma once

#include <string>

#include "core/options/fields.h"

namespace monge::tools {

/// Every key with type, default, unit and range, below a line that says whose keys they are.
std::string key_help(const std::string& whose, Options& options);

}  // namespace monge::tools
