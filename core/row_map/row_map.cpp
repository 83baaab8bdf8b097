#include "core/row_map/row_map.h"

namespace monge {

std::string_view name_of(Metric metric) {
  switch (metric) {
    case Metric::categorical: return "categorical";
    case Metric::bernoulli: return "bernoulli";
    case Metric::conjugate_hessian: return "conjugate Hessian";
    case Metric::none: return "none";
  }
  return "?";
}

std::string_view name_of(const RowMap& map) {
  if (map.kind == RowMapKind::custom) return map.custom->name();
  std::string_view name;
  visit_row_map(map, [&](const auto& kind) { name = kind.name; });
  return name;
}

Metric metric_of(const RowMap& map) {
  if (map.kind == RowMapKind::custom) return map.custom->metric();
  Metric metric{};
  visit_row_map(map, [&](const auto& kind) { metric = kind.metric; });
  return metric;
}

}  // namespace monge
