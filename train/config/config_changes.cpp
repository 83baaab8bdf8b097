#include "train/config/config_changes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/options/yaml_node.h"

namespace monge::train {
namespace {

void flatten(const YamlNode& node, const std::string& path, std::map<std::string, std::string>& out) {
  const auto below = [&path](const std::string& name) { return path.empty() ? name : path + "." + name; };
  switch (node.kind) {
    case YamlNode::Kind::null: out[path] = "null"; break;
    case YamlNode::Kind::scalar: out[path] = node.text; break;
    case YamlNode::Kind::map:
      for (const YamlEntry& entry : node.entries) flatten(entry.value, below(entry.key), out);
      break;
    case YamlNode::Kind::list:
      for (std::size_t i = 0; i < node.items.size(); ++i) flatten(node.items[i], below(std::to_string(i)), out);
      break;
  }
}

bool is_fixed(const std::string& key) {
  return key.starts_with("model.") || key == "optimizer.name" || key == "data.kind";
}

}  // namespace

std::map<std::string, std::string> flat_config(std::string_view yaml) {
  std::map<std::string, std::string> out;
  flatten(parse_yaml(yaml, "configuration"), "", out);
  return out;
}

std::string ConfigChange::str() const {
  const auto value = [](const std::string& text) { return text.empty() ? std::string("(absent)") : text; };
  return fmt::format("{}: {} -> {}", key, value(from), value(to));
}

std::vector<ConfigChange> config_changes(std::string_view from, std::string_view to) {
  std::map<std::string, ConfigChange> changes;
  for (const auto& [key, value] : flat_config(from)) changes[key] = {key, value, ""};
  for (const auto& [key, value] : flat_config(to)) {
    changes[key].key = key;
    changes[key].to = value;
  }
  std::vector<ConfigChange> out;
  for (const auto& [key, change] : changes) {
    if (change.from != change.to) out.push_back(change);
  }
  return out;
}

std::vector<ConfigChange> allowed_changes(std::string_view from, std::string_view to) {
  std::vector<ConfigChange> allowed;
  std::vector<std::string> refused;
  for (const ConfigChange& change : config_changes(from, to)) {
    if (is_fixed(change.key)) {
      refused.push_back(change.str());
    } else {
      allowed.push_back(change);
    }
  }
  if (!refused.empty()) {
    throw InputError(
        fmt::format("--resume: the checkpoint was written with another model, optimizer or kind of data ({}); restore "
                    "these keys, or start a new run with another --out",
                    fmt::join(refused, ", ")));
  }
  return allowed;
}

}  // namespace monge::train
