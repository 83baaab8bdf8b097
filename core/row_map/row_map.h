// Row maps: how a row of attention scores becomes weights.
//
// A map is the gradient of a convex potential: a = grad Omega*(z), where Omega is the regulariser of a one-sided
// transport problem (Litman 2025, arXiv:2508.08369). Its Jacobian is symmetric and has one form for every map,
//   H = diag(s) - s s^T / c,        backward:  dz = H u = s (u - <s, u> / c)       (advantage form),
// and the damped natural gradient of the row has the same shape, with w = s / (s + lambda):
//   (H + lambda I)^-1 H u = w (u - <w, u> / (<w, 1> + (c - <s, 1>) / lambda)).
//
// A map is one struct in a file of this folder and one line in maps.h. It is written over a `Row` that each backend
// provides (a double loop, SIMD lanes, a warp); its data members are its settings. It has
//
//   static constexpr const char* name
//   static constexpr Metric metric             what the Jacobian is
//   static constexpr RowStatistic statistic    what is kept of a row for the backward pass
//   static constexpr RowMapText text           for --help and the table in docs/attention.md
//   weights<Row>(row)            scores -> weights in place; returns the statistic
//   recompute<Row>(row, stat)    scores -> weights in place, from the statistic
//   curvature<Row>(a, n)         s_j from the weight a_j, in a row of n keys
//   slack<Row>(stat)             c - sum_j s_j: 0 when a shift of the scores changes nothing, infinite when each
//                                weight depends on its own score only
//
// and, if it needs them,
//
//   fields(f)                    the settings as YAML keys with their ranges, as in core/options/fields.h
//   bias_text, take_bias()       the help of a number that the layer adds to the scores; what changes where it does
//   backward<Row>(z, u, stat, <a, u>)    dL/dz, in place of curvature and slack, where metric is none
//
// A map of a user's own program (custom.h) is the same struct; statistic and text are for built-in maps only.
//
// What a map may use of a Row:
//
//   Row::Number                  a scalar: sums, maxima and the kept statistic
//   row.size(), row.max()        keys; largest element (-infinity for an empty row)
//   row.sum(f), row.apply(f)     sum of f(z_j); z_j = f(z_j), returning the sum of the new values
//   Row::exp, log, sqrt          of an element; exp and log of a Number too
//   Row::expm1, log1p            e^x - 1 and log(1 + x) of an element
//   Row::relu(x)                 max(x, 0) of an element
//   Row::positive(x)             1 where an element is > 0, else 0
//
// `f` is called with elements: one scalar, or several in the lanes of a vector. Elements have + - * / among themselves
// and with a Number, and nothing else, so that the same text compiles for every Row. Keys that are masked out are not
// part of the Row.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/dtype.h"
#include "core/row_map/host_row.h"

namespace monge {

/// What the Jacobian of a map is as a metric on scores. Only the first two are Fisher information matrices.
enum class Metric : std::uint8_t {
  categorical,        // of a draw of one key (softmax1: or of none)
  bernoulli,          // of independent draws of each key
  conjugate_hessian,  // the Hessian of the conjugate of the regulariser
  none,               // the Jacobian is not symmetric: no natural gradient
};
std::string_view name_of(Metric metric);

/// The number that is kept of a row, from which its weights follow element by element.
enum class RowStatistic : std::uint8_t {
  none,           // 0: each weight depends on its own score only, so c is infinite
  log_sum_exp,    // log sum exp(z): the weights are exp(z - stat), so s = a and c = 1
  log1p_sum_exp,  // log(1 + sum exp(z)), and otherwise the same
  whole_row,      // any other: found by passes over the whole row
};

/// How a map is explained to people.
struct RowMapText {
  const char *weights, *s, *c;  // formulas; s and c empty where the Jacobian is not symmetric
  const char* use;              // what it is good for
};

template <class Map>
inline constexpr bool is_separable = Map::statistic == RowStatistic::none;
template <class Map>
inline constexpr bool is_exponential =
    Map::statistic == RowStatistic::log_sum_exp || Map::statistic == RowStatistic::log1p_sum_exp;

template <class Map>
concept HasNameAndMetric = requires {
  { Map::name } -> std::convertible_to<std::string_view>;
  { Map::metric } -> std::convertible_to<Metric>;
};
template <class Map, class Row>
concept HasWeights = requires(const Map& map, Row& row, typename Row::Number stat) {
  { map.weights(row) } -> std::same_as<typename Row::Number>;
  map.recompute(row, stat);
};
template <class Map, class Row>
concept HasCurvature = requires(const Map& map, typename Row::Number x) {
  { map.template curvature<Row>(x, x) } -> std::same_as<typename Row::Number>;
  { map.template slack<Row>(x) } -> std::same_as<typename Row::Number>;
};
template <class Map, class Row>
concept HasBackward = requires(const Map& map, typename Row::Number x) {
  { map.template backward<Row>(x, x, x, x) } -> std::same_as<typename Row::Number>;
};

template <class Map, class Row>
concept HasGradient = (Map::metric == Metric::none && HasBackward<Map, Row>) || HasCurvature<Map, Row>;

/// What every map has, also one of a user's own program.
template <class Map>
concept RowMapStruct = HasNameAndMetric<Map> && HasWeights<Map, HostRow<double>> && HasGradient<Map, HostRow<double>>;

template <class Map>
concept HasStatisticAndText = requires {
  { Map::statistic } -> std::convertible_to<RowStatistic>;
  { Map::text } -> std::convertible_to<RowMapText>;
};

/// What a map in the list has. It is copied to devices as it lies in memory.
template <class Map>
concept BuiltInRowMap = RowMapStruct<Map> && HasStatisticAndText<Map> && std::default_initializable<Map> &&
    std::is_trivially_copyable_v<Map>;

/// A user's own map behind virtual calls; made by custom_row_map (custom.h). Rows are plain memory, f32 on cpu and f64
/// on reference. Called from several threads at once.
class CustomRowMap {
 public:
  virtual ~CustomRowMap() = default;
  virtual std::string_view name() const = 0;
  virtual Metric metric() const = 0;

  virtual float weights(HostRow<float>& row) const = 0;
  virtual double weights(HostRow<double>& row) const = 0;
  virtual void recompute(HostRow<float>& row, float stat) const = 0;
  virtual void recompute(HostRow<double>& row, double stat) const = 0;
  virtual float curvature(float weight, float n) const = 0;
  virtual double curvature(double weight, double n) const = 0;
  virtual float slack(float stat) const = 0;
  virtual double slack(double stat) const = 0;
};

/// A list of maps. maps.h is compiled for several instruction sets, and each has a list of its own structs; they agree
/// in order and layout.
template <class... Maps>
struct RowMapList {
  template <BuiltInRowMap Map>
  using Checked = Map;
  using AnyMap = std::variant<Checked<Maps>..., std::shared_ptr<const CustomRowMap>>;
  static constexpr std::size_t size = sizeof...(Maps);

  template <class Map>
  static constexpr std::size_t index_of() {
    std::size_t index = 0;
    (void)((std::is_same_v<Map, Maps> || (++index, false)) || ...);
    return index;
  }

  /// Calls f(Map()) for each map, with its default settings.
  template <class F>
  static void for_each(const F& f) {
    (f(Maps()), ...);
  }
  /// Calls f with the struct that a RowMap holds, as this list has it; not for a custom map.
  template <class Any, class F>
  static void visit(const Any& map, const F& f) {
    visit(map, f, std::index_sequence_for<Maps...>());
  }

 private:
  template <class Any, class F, std::size_t... index>
  static void visit(const Any& map, const F& f, std::index_sequence<index...>) {
    ((map.index() == index && (f(std::bit_cast<Maps>(*std::get_if<index>(&map))), true)) || ...);
  }
};

#define MONGE_LAMBDA
#include "core/row_map/maps.h"

/// The map of an attention call: one of the structs in maps.h with its settings, or a custom map (host backends only).
using RowMap = RowMaps::AnyMap;

#include "core/row_map/custom_map.h"
#undef MONGE_LAMBDA

/// The struct that `map` holds, or null when it holds another.
template <class Map>
const Map* as(const RowMap& map) {
  constexpr std::size_t index = RowMaps::index_of<Map>();
  if constexpr (index < RowMaps::size) {
    return std::get_if<index>(&map);
  } else {
    return nullptr;
  }
}
/// Null for a map of the list.
const CustomRowMap* custom_of(const RowMap& map);
std::string_view name_of(const RowMap& map);
Metric metric_of(const RowMap& map);
/// "entmax needs 1 < alpha <= 2, got 2.5" when a setting is out of its range; empty when none is.
std::string wrong_setting(const RowMap& map);

}  // namespace monge
