// Softmax: weights p = exp(z - LSE(z)); s = p, c = 1.

struct SoftmaxMap {
  static constexpr const char* name = "softmax";
  static constexpr Metric metric = Metric::categorical;
  static constexpr RowStatistic statistic = RowStatistic::log_sum_exp;
  static constexpr RowMapText text{.weights = "exp(z) / sum exp(z)", .s = "a", .c = "1", .use = "the default"};

  /// Returns log-sum-exp; -infinity for an empty row.
  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    const auto top = row.max();
    const auto total = row.apply([top](auto z) MONGE_LAMBDA { return Row::exp(z - top); });
    const auto share = 1 / total;
    row.apply([share](auto z) MONGE_LAMBDA { return z * share; });
    return top + Row::log(total);
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number log_sum_exp) const {
    row.apply([log_sum_exp](auto z) MONGE_LAMBDA { return Row::exp(z - log_sum_exp); });
  }

  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number) const {
    return weight;
  }

  template <class Row>
  MONGE_HD typename Row::Number slack(typename Row::Number) const {
    return 0;
  }
};
