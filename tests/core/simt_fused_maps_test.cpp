// The fused attention kernels with every row map on the emulated device, against the reference backend.
#include <gtest/gtest.h>

#include "core/fused_calls.h"
#include "support/row_maps.h"

namespace monge {
namespace {

using test::expect_fused_equal;
using test::Named;

class FusedMaps : public testing::TestWithParam<Named> {
 protected:
  static const RowMap& map() { return GetParam().map; }
  /// The settings of a row solve, for maps that have one.
  static std::optional<RowDamping> damping(RowDamping::Scale scale) {
    if (metric_of(map()) == Metric::none) return {};
    return RowDamping{0.1, scale};
  }
};

TEST_P(FusedMaps, PlainAttentionMatchesReference) {
  expect_fused_equal({1, 129, 129, 2, 1, 64, 0, true, false, 0.0, map()});
  expect_fused_equal({1, 65, 65, 1, 1, 128, 0, true, false, 0.0, map()});
}

TEST_P(FusedMaps, EveryOptionTogetherMatchesReference) {
  for (const auto scale : {RowDamping::Scale::per_key, RowDamping::Scale::absolute, RowDamping::Scale::trace}) {
    expect_fused_equal({1, 67, 67, 4, 2, 64, 0, true, true, 0.2, map(), false, damping(scale)});
  }
  expect_fused_equal({1, 40, 90, 2, 1, 128, 0, false, true, 0.2, map(), false, damping(RowDamping::Scale::per_key)});
}

std::vector<Named> fused_maps() {
  std::vector<Named> maps;
  for (const Named& each : test::every_row_map()) {
    if (custom_of(each.map) == nullptr) maps.push_back(each);
  }
  return maps;
}

INSTANTIATE_TEST_SUITE_P(All, FusedMaps, testing::ValuesIn(fused_maps()), test::name_of_test);

}  // namespace
}  // namespace monge
