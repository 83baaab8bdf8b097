// A row map of a user's own program. It is written like the built-in ones (row_map.h), in a struct, and wrapped:
//
//   RowMap mine = custom_row_map(MyMap{...});
//
// It then takes part in everything a built-in map does on the host backends (cpu, reference): masks, grouped heads,
// priors, dropout, gradcheck, the natural updates. A Jacobian that is not symmetric is not supported.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "core/row_map/row_map.h"

namespace monge {

template <RowMapStruct Map>
RowMap custom_row_map(Map map) {
  static_assert(Map::metric != Metric::none, "a custom row map needs a symmetric Jacobian");
  class Wrapped final : public CustomRowMap {
   public:
    explicit Wrapped(Map wrapped) : map_(std::move(wrapped)) {}
    std::string_view name() const override { return Map::name; }
    Metric metric() const override { return Map::metric; }

    float weights(HostRow<float>& row) const override { return map_.weights(row); }
    double weights(HostRow<double>& row) const override { return map_.weights(row); }
    void recompute(HostRow<float>& row, float stat) const override { map_.recompute(row, stat); }
    void recompute(HostRow<double>& row, double stat) const override { map_.recompute(row, stat); }
    float curvature(float weight, float n) const override { return map_.template curvature<HostRow<float>>(weight, n); }
    double curvature(double weight, double n) const override {
      return map_.template curvature<HostRow<double>>(weight, n);
    }
    float slack(float stat) const override { return map_.template slack<HostRow<float>>(stat); }
    double slack(double stat) const override { return map_.template slack<HostRow<double>>(stat); }

   private:
    Map map_;
  };
  return std::make_shared<const Wrapped>(std::move(map));
}

}  // namespace monge
