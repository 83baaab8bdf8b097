#include "tools/key_help.h"

#include <fmt/format.h>

#include "core/options/yaml.h"

namespace monge::tools {

std::string key_help(const std::string& whose, Options& options) {
  std::string text = fmt::format("Keys of {}, with type, default and meaning:\n", whose);
  for (const KeyDescription& key : describe(options)) {
    text += fmt::format("  {} ({})", key.path, key.type);
    if (!key.default_value.empty()) text += fmt::format(" = {}", key.default_value);
    if (!key.unit.empty()) text += fmt::format(" [{}]", key.unit);
    text += fmt::format("\n      {}", key.doc);
    if (!key.range.empty()) text += fmt::format("; {}", key.range);
    if (!key.only_for.empty()) text += fmt::format("; for {}", key.only_for);
    text += "\n";
  }
  return text;
}

}  // namespace monge::tools
