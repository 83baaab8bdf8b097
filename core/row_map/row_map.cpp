#include "core/row_map/row_map.h"

#include <fmt/format.h>

#include <cmath>

#include "core/options/fields.h"

namespace monge {
namespace {

/// Visits the settings of a map like a Fields.
struct RangeCheck {
  std::string_view map;
  std::string wrong;

  void operator()(std::string_view key, double value, const Field& field) {
    const bool above = field.exclusive_min ? value > field.min : value >= field.min;
    if (above && value <= field.max) return;
    const char* const less = field.exclusive_min ? "<" : "<=";
    wrong =
        std::isfinite(field.max)
            ? fmt::format("{} needs {} {} {} <= {}, got {}", map, field.min, less, key, field.max, value)
            : fmt::format("{} needs {} {} {}, got {}", map, key, field.exclusive_min ? ">" : ">=", field.min, value);
  }
};

}  // namespace

std::string_view name_of(Metric metric) {
  switch (metric) {
    case Metric::categorical: return "categorical";
    case Metric::bernoulli: return "bernoulli";
    case Metric::conjugate_hessian: return "conjugate Hessian";
    case Metric::none: return "none";
  }
  return "?";
}

const CustomRowMap* custom_of(const RowMap& map) {
  const auto* const custom = std::get_if<std::shared_ptr<const CustomRowMap>>(&map);
  return custom == nullptr ? nullptr : custom->get();
}

std::string_view name_of(const RowMap& map) {
  if (const CustomRowMap* const custom = custom_of(map)) return custom->name();
  std::string_view name;
  RowMaps::visit(map, [&](const auto& of_kind) { name = of_kind.name; });
  return name;
}

Metric metric_of(const RowMap& map) {
  if (const CustomRowMap* const custom = custom_of(map)) return custom->metric();
  Metric metric{};
  RowMaps::visit(map, [&](const auto& of_kind) { metric = of_kind.metric; });
  return metric;
}

std::string wrong_setting(const RowMap& map) {
  RangeCheck check{.map = name_of(map)};
  RowMaps::visit(map, [&](auto of_kind) {
    if constexpr (requires { of_kind.fields(check); }) of_kind.fields(check);
  });
  return check.wrong;
}

}  // namespace monge
