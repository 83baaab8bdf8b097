// Softmax with one more key of score 0 that carries no value: a = exp(z) / (1 + sum exp(z)), so a row may attend to
// nothing (Miller 2023, "Attention Is Off By One"). s = a, c = 1. A learned score b of the extra key is a prior of -b
// on all others.

struct Softmax1Map {
  static constexpr const char* name = "softmax1";
  static constexpr Metric metric = Metric::categorical;
  static constexpr RowStatistic statistic = RowStatistic::log1p_sum_exp;
  static constexpr RowMapText text{
      .weights = "exp(z) / (1 + sum exp(z))", .s = "a", .c = "1", .use = "a head may attend to nothing"};
  static constexpr const char* bias_text =
      "added to every score, one number or one for each head: minus the score of the extra key; []: 0";

  /// Returns log(1 + sum exp(z)).
  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    using Number = typename Row::Number;
    const Number highest = row.max();
    const Number top = highest > 0 ? highest : Number(0);
    const Number total = row.apply([top](auto z) MONGE_LAMBDA { return Row::exp(z - top); });
    const Number null = Row::exp(-top);
    const Number share = 1 / (total + null);
    row.apply([share](auto z) MONGE_LAMBDA { return z * share; });
    return top + Row::log(total + null);
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number log_total) const {
    row.apply([log_total](auto z) MONGE_LAMBDA { return Row::exp(z - log_total); });
  }

  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number) const {
    return weight;
  }

  /// The weight of the extra key.
  template <class Row>
  MONGE_HD typename Row::Number slack(typename Row::Number log_total) const {
    return Row::exp(-log_total);
  }
};
