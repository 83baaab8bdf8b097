#include "tools/compare/search/axes.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "core/error.h"
#include "core/options/format.h"
#include "core/options/yaml_scalar.h"
#include "train/config/config.h"

namespace monge::compare {
namespace {

/// What the configuration takes lists for: paths with N in the place of an index.
struct ListKeys {
  std::set<std::string> values, maps;

  ListKeys() {
    train::Config config;
    for (const KeyDescription& key : describe(config)) {
      if (key.type == "list of maps") {
        maps.insert(key.path);
      } else if (key.type.starts_with("list")) {
        values.insert(key.path);
      }
    }
  }
};

/// A place in a variant, as the configuration names it and as the schema does.
struct Path {
  std::string key, schema;

  Path below(const std::string& name) const {
    const bool index = std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c) != 0; });
    const std::string dot = key.empty() ? "" : ".";
    return {key + dot + name, schema + dot + (index ? "N" : name)};
  }
};

/// Calls `visit(key, list)` for every list that is an axis.
template <class Node, class Visit>
void visit_axes(Node& node, const Path& path, const Visit& visit) {
  static const ListKeys lists;
  if (node.kind == YamlNode::Kind::map) {
    for (auto& entry : node.entries) visit_axes(entry.value, path.below(entry.key), visit);
  } else if (node.kind == YamlNode::Kind::list && lists.maps.contains(path.schema)) {
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      visit_axes(node.items[i], path.below(std::to_string(i)), visit);
    }
  } else if (node.kind == YamlNode::Kind::list && !lists.values.contains(path.schema)) {
    visit(path.key, node);
  }
}

Axis axis_of(const std::string& key, const YamlNode& list) {
  Axis axis{key, {}};
  for (const YamlNode& item : list.items) {
    if (item.kind != YamlNode::Kind::scalar) {
      fail_at(item.place, key, "only numbers can be swept; write one variant for each value");
    }
    axis.values.push_back(number_of(item, key, {}));
  }
  std::ranges::sort(axis.values);
  if (axis.values.empty()) fail_at(list.place, key, "an empty list; give the values to begin with");
  const auto twice = std::ranges::adjacent_find(axis.values);
  if (twice != axis.values.end()) fail_at(list.place, key, fmt::format("{} is given twice", *twice));
  return axis;
}

}  // namespace

std::vector<Axis> find_axes(const YamlNode& variant) {
  std::vector<Axis> axes;
  visit_axes(variant, {}, [&](const std::string& key, const YamlNode& list) { axes.push_back(axis_of(key, list)); });
  std::ranges::stable_partition(axes, [](const Axis& axis) { return axis.key == "optimizer.lr"; });
  return axes;
}

YamlNode at_setting(YamlNode variant, const std::vector<Axis>& axes, const Setting& setting) {
  visit_axes(variant, {}, [&](const std::string& key, YamlNode& list) {
    const auto axis = std::ranges::find(axes, key, &Axis::key);
    YamlNode value;
    value.kind = YamlNode::Kind::scalar;
    value.place = list.place;
    value.text = yaml_number(setting.at(static_cast<std::size_t>(axis - axes.begin())));
    list = std::move(value);
  });
  return variant;
}

}  // namespace monge::compare
