// Which keys differ between the configuration of a checkpoint and the one it is to be continued with.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace monge::train {

/// The values of a configuration by their keys, "model.width": YAML text each; items of lists have their index as key.
std::map<std::string, std::string> flat_config(std::string_view yaml);

struct ConfigChange {
  std::string key;       // "model.width"
  std::string from, to;  // values as YAML text; empty: the key is absent
  std::string str() const;
};

/// Compares two resolved configurations, sorted by key.
std::vector<ConfigChange> config_changes(std::string_view from, std::string_view to);

/// Sorts the changes into those that a checkpoint cannot follow and the others. Throws InputError naming the former:
/// everything under `model`, the optimizer's rule and the kind of data. Returns the latter.
std::vector<ConfigChange> allowed_changes(std::string_view from, std::string_view to);

}  // namespace monge::train
