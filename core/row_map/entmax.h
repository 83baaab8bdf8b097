// alpha-entmax, 1 < alpha <= 2 (Peters et al. 2019, arXiv:1905.05702): the maps of the Tsallis entropies,
//   a = relu(y - t)^p,  y = (alpha - 1) z,  p = 1 / (alpha - 1),  with the threshold t at which the weights sum to one;
//   s = a^(2 - alpha) on the support, c = sum s.
// alpha -> 1 is softmax, alpha = 2 sparsemax (Martins & Astudillo 2016, arXiv:1602.02068). The structs differ in their
// powers only, which take a logarithm except for alpha = 1.5 and 2. Part of core/row_map/maps.h.

/// What the family shares. `Self` gives alpha(), power<Row>(x) = x^p and slope_power<Row>(x) = x^(p-1) for x >= 0, and
/// curvature.
template <class Self>
struct EntmaxFamily {
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr bool curvature_is_weight = false;

  /// Returns the threshold t; -infinity for an empty row.
  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    using Number = typename Row::Number;
    const Number slope = static_cast<Number>(self().alpha() - 1), top = row.max();
    if (row.size() == 0) return top;
    // Scores count from the largest, so that large ones lose nothing: rest = y - t with t = slope top - 1 + climb.
    const Number climb = climb_to_root(row, slope, top);
    const auto& map = self();
    row.apply([&](auto z) MONGE_LAMBDA { return map.template power<Row>(Row::relu((z - top) * slope + (1 - climb))); });
    return slope * top - 1 + climb;
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number threshold) const {
    using Number = typename Row::Number;
    const Number slope = static_cast<Number>(self().alpha() - 1);
    const auto& map = self();
    row.apply([&](auto z) MONGE_LAMBDA { return map.template power<Row>(Row::relu(z * slope - threshold)); });
  }

  template <class Row>
  MONGE_HD typename Row::Number slack(typename Row::Number) const {
    return 0;
  }

 private:
  MONGE_HD const Self& self() const { return static_cast<const Self&>(*this); }

  /// The root of |relu(y - t)|_p = 1. The norm is convex and falling in t and at least 1 at t = max y - 1, so Newton's
  /// method climbs from there to the root without passing it; for alpha = 2 it ends exactly (Michelot 1986).
  template <class Row>
  MONGE_HD typename Row::Number climb_to_root(const Row& row, typename Row::Number slope,
                                              typename Row::Number top) const {
    using Number = typename Row::Number;
    const auto& map = self();
    Number climb = 0;
    for (int step = 0; step < 100; ++step) {
      const Number start = 1 - climb;
      const Number total =
          row.sum([&](auto z) MONGE_LAMBDA { return map.template power<Row>(Row::relu((z - top) * slope + start)); });
      const Number rate = row.sum(
          [&](auto z) MONGE_LAMBDA { return map.template slope_power<Row>(Row::relu((z - top) * slope + start)); });
      const Number move = (total - Row::exp((1 - slope) * Row::log(total))) / rate;
      if (!(move > std::numeric_limits<Number>::epsilon())) break;
      climb += move;
    }
    return climb;
  }
};

struct EntmaxMap : EntmaxFamily<EntmaxMap> {
  static constexpr const char* name = "entmax";

  MONGE_HD explicit EntmaxMap(double alpha) : alpha_(alpha) {}
  MONGE_HD double alpha() const { return alpha_; }

  template <class Row, class Element>
  MONGE_HD Element power(Element x) const {
    return raise<Row>(x, 1 / (alpha_ - 1));
  }
  template <class Row, class Element>
  MONGE_HD Element slope_power(Element x) const {
    return raise<Row>(x, 1 / (alpha_ - 1) - 1);
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number) const {
    return raise<Row>(weight, 2 - alpha_);
  }

 private:
  /// x^e on the support x > 0; 0 elsewhere, also for e = 0.
  template <class Row, class Element>
  MONGE_HD static Element raise(Element x, double exponent) {
    using Number = typename Row::Number;
    const Number e = static_cast<Number>(exponent);
    const Element support = Row::positive(x);
    return support * Row::exp(Row::log(x + (Number(1) - support)) * e);
  }

  double alpha_;
};

struct Entmax15Map : EntmaxFamily<Entmax15Map> {
  static constexpr const char* name = "entmax15";
  MONGE_HD static constexpr double alpha() { return 1.5; }

  template <class Row, class Element>
  MONGE_HD static Element power(Element x) {
    return x * x;
  }
  template <class Row, class Element>
  MONGE_HD static Element slope_power(Element x) {
    return x;
  }
  template <class Row, class Element, class Number>
  MONGE_HD static Element curvature(Element weight, Number) {
    return Row::sqrt(weight);
  }
};

struct SparsemaxMap : EntmaxFamily<SparsemaxMap> {
  static constexpr const char* name = "sparsemax";
  MONGE_HD static constexpr double alpha() { return 2.0; }

  template <class Row, class Element>
  MONGE_HD static Element power(Element x) {
    return x;
  }
  template <class Row, class Element>
  MONGE_HD static Element slope_power(Element x) {
    return Row::positive(x);
  }
  template <class Row, class Element, class Number>
  MONGE_HD static Element curvature(Element weight, Number) {
    return Row::positive(weight);
  }
};
