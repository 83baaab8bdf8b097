#include "tools/verify/row.h"

#include <optional>
#include <vector>

#include "tools/verify/oracles/rows.h"

namespace monge::tools {
namespace {

std::vector<double> numbers(const Vector& v) { return {v.begin(), v.end()}; }
Vector as_vector(const std::vector<double>& v) {
  return Eigen::Map<const Vector>(v.data(), static_cast<Eigen::Index>(v.size()));
}

}  // namespace

RowResult run_row(const RowMap& map, const Vector& z, const Vector& u, double lambda) {
  std::optional<RowDamping> damping;
  if (metric_of(map) != Metric::none) damping = {.lambda = lambda, .scale = RowDamping::Scale::absolute};
  const oracle::RowResults row =
      oracle::run_rows({DeviceKind::reference, 0}, map, numbers(z), numbers(u), z.size(), damping);
  return {as_vector(row.weights), row.stat.front(), as_vector(row.dz), as_vector(row.solved)};
}

std::pair<Vector, double> map_row(const RowMap& map, const Vector& z) {
  Vector weights = z;
  HostRow<double> row(weights.data(), weights.size());
  double stat = 0.0;
  visit_row_map(map, [&](const auto& kind) { stat = kind.weights(row); });
  return {weights, stat};
}

}  // namespace monge::tools
