// alpha-entmax, 1 < alpha <= 2 (Peters et al. 2019, arXiv:1905.05702): the maps of the Tsallis entropies,
//   a = relu(y - t)^p,  y = (alpha - 1) z,  p = 1 / (alpha - 1),  with the threshold t at which the weights sum to one;
//   s = a^(2 - alpha) on the support, c = sum s.
// alpha -> 1 is softmax, alpha = 2 sparsemax (Martins & Astudillo 2016, arXiv:1602.02068). The structs differ in their
// powers only, which take a logarithm except for alpha = 1.5 and 2.

/// What the family shares. `Self` gives alpha, power<Row>(x) = x^p and slope_power<Row>(x) = x^(p-1) for x >= 0, and
/// curvature.
template <class Self>
struct EntmaxFamily {
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr RowStatistic statistic = RowStatistic::whole_row;

  /// Returns the threshold t; -infinity for an empty row.
  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    using Number = typename Row::Number;
    const Number slope = static_cast<Number>(self().alpha - 1), top = row.max();
    if (row.size() == 0) return top;
    // Scores count from the largest, so that large ones lose nothing: y - t with t = slope top - 1 + rise.
    const Number rise = distance_to_root(row, slope, top);
    const auto& map = self();
    row.apply([&](auto z) MONGE_LAMBDA { return map.template power<Row>(Row::relu((z - top) * slope + (1 - rise))); });
    return slope * top - 1 + rise;
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number threshold) const {
    using Number = typename Row::Number;
    const Number slope = static_cast<Number>(self().alpha - 1);
    const auto& map = self();
    row.apply([&](auto z) MONGE_LAMBDA { return map.template power<Row>(Row::relu(z * slope - threshold)); });
  }

  template <class Row>
  MONGE_HD typename Row::Number slack(typename Row::Number) const {
    return 0;
  }

 private:
  MONGE_HD const Self& self() const { return static_cast<const Self&>(*this); }

  /// How far the root of |relu(y - t)|_p = 1 is above t = max y - 1. The norm is convex and falling in t and at least 1
  /// there, so Newton's method rises to the root without passing it; for alpha = 2 it ends exactly (Michelot 1986).
  template <class Row>
  MONGE_HD typename Row::Number distance_to_root(const Row& row, typename Row::Number slope,
                                                 typename Row::Number top) const {
    using Number = typename Row::Number;
    const auto& map = self();
    Number rise = 0;
    for (int step = 0; step < 100; ++step) {
      const Number start = 1 - rise;
      const Number total =
          row.sum([&](auto z) MONGE_LAMBDA { return map.template power<Row>(Row::relu((z - top) * slope + start)); });
      const Number rate = row.sum(
          [&](auto z) MONGE_LAMBDA { return map.template slope_power<Row>(Row::relu((z - top) * slope + start)); });
      const Number move = (total - Row::exp((1 - slope) * Row::log(total))) / rate;
      if (!(move > std::numeric_limits<Number>::epsilon())) break;
      rise += move;
    }
    return rise;
  }
};

struct EntmaxMap : EntmaxFamily<EntmaxMap> {
  static constexpr const char* name = "entmax";
  static constexpr RowMapText text{.weights = "relu((alpha-1) z - t)^(1/(alpha-1))",
                                   .s = "a^(2-alpha) on the support",
                                   .c = "sum s",
                                   .use = "between softmax (alpha to 1) and sparsemax (2)"};
  double alpha = 1.5;  // 1 < alpha <= 2

  template <class F>
  void fields(F& f) {
    f("alpha", alpha, {.doc = "towards 1: softmax; 2: sparsemax", .min = 1.0, .max = 2.0, .exclusive_min = true});
  }

  template <class Row, class Element>
  MONGE_HD Element power(Element x) const {
    return raise<Row>(x, 1 / (alpha - 1));
  }
  template <class Row, class Element>
  MONGE_HD Element slope_power(Element x) const {
    return raise<Row>(x, 1 / (alpha - 1) - 1);
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number) const {
    return raise<Row>(weight, 2 - alpha);
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
};

struct Entmax15Map : EntmaxFamily<Entmax15Map> {
  static constexpr const char* name = "entmax15";
  static constexpr RowMapText text{
      .weights = "relu(z/2 - t)^2", .s = "sqrt(a)", .c = "sum s", .use = "entmax with alpha 1.5, without powers"};
  static constexpr double alpha = 1.5;

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
  static constexpr RowMapText text{.weights = "relu(z - t)",
                                   .s = "1 on the support",
                                   .c = "keys in the support",
                                   .use = "few keys, with exact zeros elsewhere"};
  static constexpr double alpha = 2.0;

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
