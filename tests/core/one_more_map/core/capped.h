// A map that the framework does not have: a = sigmoid(z - t) with the threshold t at which the weights sum to `total`,
// so no key can have more than one however many there are. s = a (1 - a), c = sum s.

struct CappedMap {
  static constexpr const char* name = "capped";
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr RowStatistic statistic = RowStatistic::whole_row;
  static constexpr RowMapText text{
      .weights = "sigmoid(z - t)", .s = "a (1 - a)", .c = "sum s", .use = "a test of adding a map"};
  double total = 0.5;

  template <class F>
  void fields(F& f) {
    f("total", total, {.doc = "what the weights of a row sum to", .min = 0.0, .max = 0.9, .exclusive_min = true});
  }

  /// Returns t; -infinity for an empty row.
  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    using Number = typename Row::Number;
    const Number top = row.max(), sum = static_cast<Number>(total);
    if (row.size() == 0) return top;
    // The largest score alone has `total` at `low`; at `high` all together have less.
    Number low = top - Row::log(sum / (1 - sum)), high = top + Row::log(static_cast<Number>(row.size()) / sum);
    for (int step = 0; step < 60; ++step) {
      const Number t = (low + high) / 2;
      const Number at_t = row.sum([&](auto z) MONGE_LAMBDA { return sigmoid<Row>(z, t); });
      (at_t > sum ? low : high) = t;
    }
    recompute(row, low);
    return low;
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number t) const {
    row.apply([&](auto z) MONGE_LAMBDA { return sigmoid<Row>(z, t); });
  }

  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number) const {
    return weight * (Number(1) - weight);
  }

  template <class Row>
  MONGE_HD typename Row::Number slack(typename Row::Number) const {
    return 0;
  }

 private:
  template <class Row, class Element, class Number>
  MONGE_HD static Element sigmoid(Element z, Number t) {
    return Number(1) / (Number(1) + Row::exp(t - z));
  }
};
