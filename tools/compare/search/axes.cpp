#include "tools/compare/search/axes.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "core/options/format.h"
#include "core/options/yaml_scalar.h"
#include "train/config/config.h"

namespace monge::compare {
namespace {

/// What the configuration takes: paths with N in the place of an index.
struct Keys {
  std::set<std::string> lists, lists_of_maps, integers, shares;

  Keys() {
    train::Config config;
    for (const KeyDescription& key : describe(config)) {
      if (key.type == "integer") integers.insert(key.path);
      if (key.range == "0 .. 1") shares.insert(key.path);
      if (key.type == "list of maps") {
        lists_of_maps.insert(key.path);
      } else if (key.type.starts_with("list")) {
        lists.insert(key.path);
      }
    }
  }
};
const Keys& keys() {
  static const Keys all;
  return all;
}

/// A place in a variant, as the configuration names it and as the schema does.
struct Path {
  std::string key, schema;

  Path below(const std::string& name) const {
    const bool index = std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c) != 0; });
    const std::string dot = key.empty() ? "" : ".";
    return {key + dot + name, schema + dot + (index ? "N" : name)};
  }
};

/// Calls `visit(path, list)` for every list that is an axis.
template <class Node, class Visit>
void visit_axes(Node& node, const Path& path, const Visit& visit) {
  if (node.kind == YamlNode::Kind::map) {
    for (auto& entry : node.entries) visit_axes(entry.value, path.below(entry.key), visit);
  } else if (node.kind == YamlNode::Kind::list && keys().lists_of_maps.contains(path.schema)) {
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      visit_axes(node.items[i], path.below(std::to_string(i)), visit);
    }
  } else if (node.kind == YamlNode::Kind::list && !keys().lists.contains(path.schema)) {
    visit(path, node);
  }
}

/// Whether these are decays of an average, most of the way to one.
bool are_decays(const Path& path, const std::vector<double>& values) {
  const std::string schema = path.schema.ends_with(".N") ? path.schema.substr(0, path.schema.size() - 2) : path.schema;
  const bool named_so = schema.ends_with("betas") || schema.ends_with("momentum") || schema.ends_with("decay");
  return named_so && keys().shares.contains(schema) && values.front() >= 0.5 && values.back() < 1.0;
}

Axis axis_of(const Path& path, const YamlNode& list) {
  const std::string& key = path.key;
  Axis axis{.key = key, .values = {}, .whole = keys().integers.contains(path.schema)};
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
  axis.decay = are_decays(path, axis.values);
  return axis;
}

/// Three digits are enough for a setting.
double rounded(double value) { return std::strtod(fmt::format("{:.3g}", value).c_str(), nullptr); }

}  // namespace

std::vector<Axis> find_axes(const YamlNode& variant) {
  std::vector<Axis> axes;
  visit_axes(variant, {}, [&](const Path& path, const YamlNode& list) { axes.push_back(axis_of(path, list)); });
  std::ranges::stable_partition(axes, [](const Axis& axis) { return axis.key == "optimizer.lr"; });
  return axes;
}

YamlNode at_setting(YamlNode variant, const std::vector<Axis>& axes, const Setting& setting) {
  visit_axes(variant, {}, [&](const Path& path, YamlNode& list) {
    const auto axis = std::ranges::find(axes, path.key, &Axis::key);
    YamlNode value;
    value.kind = YamlNode::Kind::scalar;
    value.place = list.place;
    value.text = yaml_number(setting.at(static_cast<std::size_t>(axis - axes.begin())));
    list = std::move(value);
  });
  return variant;
}

double octaves(const Axis& axis, double value) { return axis.decay ? -std::log2(1.0 - value) : std::log2(value); }

double value_at(const Axis& axis, double octaves) {
  if (axis.whole) return std::round(std::exp2(octaves));
  if (!axis.decay) return rounded(std::exp2(octaves));
  // 1 - 0.05 is not 0.95 to the last bit.
  return std::strtod(fmt::format("{:.12g}", 1.0 - rounded(std::exp2(-octaves))).c_str(), nullptr);
}

}  // namespace monge::compare
