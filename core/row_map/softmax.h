// Softmax: weights p = exp(z - LSE(z)); s = p, c = 1; the metric is the Fisher information of a categorical row.
// Part of core/row_map/maps.h.

struct SoftmaxMap {
  static constexpr const char* name = "softmax";

  /// Turns the scores of `row` into weights in place; returns the statistic kept for backward: log-sum-exp.
  /// An empty row gives -infinity.
  template <class Row>
  static typename Row::Number weights(Row& row) {
    const auto top = row.max();
    const auto total = row.apply([top](auto z) MONGE_LAMBDA { return Row::exp(z - top); });
    const auto share = 1 / total;
    row.apply([share](auto z) MONGE_LAMBDA { return z * share; });
    return top + Row::log(total);
  }

  /// The weights again, from the scores and the kept statistic.
  template <class Row>
  static void recompute(Row& row, typename Row::Number log_sum_exp) {
    row.apply([log_sum_exp](auto z) MONGE_LAMBDA { return Row::exp(z - log_sum_exp); });
  }

  /// s_j from the weight a_j.
  template <class Element>
  static Element curvature(Element weight) {
    return weight;
  }

  /// <s, u> / c, given <a, u> = <dO, o>, which attention has for free.
  template <class Number>
  static Number baseline(Number weights_dot_u) {
    return weights_dot_u;
  }
};
