// Softpick: a = relu(e^z - 1) / sum |e^z - 1| (Zuhri et al. 2025, arXiv:2504.20966), a map without attention sinks. Its
// Jacobian is not symmetric, so it is no metric: the map brings a backward of its own and has no natural gradient.

struct SoftpickMap {
  static constexpr const char* name = "softpick";
  static constexpr Metric metric = Metric::none;
  static constexpr RowStatistic statistic = RowStatistic::whole_row;
  static constexpr RowMapText text{.weights = "relu(exp(z) - 1) / sum abs(exp(z) - 1)",
                                   .s = "",
                                   .c = "",
                                   .use = "no sink and exact zeros; no natural gradient"};

  /// Returns the logarithm of the denominator, log(tiny + sum |e^z - 1|).
  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    using Number = typename Row::Number;
    const Number highest = row.max();
    const Number top = highest > 0 ? highest : Number(0);
    const Number total = row.sum([&](auto z) MONGE_LAMBDA { return gap<Row>(z, top); });
    const Number log_total = top + Row::log(total + static_cast<Number>(1e-6) * Row::exp(-top));
    recompute(row, log_total);
    return log_total;
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number log_total) const {
    row.apply([&](auto z) MONGE_LAMBDA { return Row::positive(z) * gap<Row>(z, log_total); });
  }

  /// dL/dz of one key: e^z (1[z > 0] u - sign(z) <a, u>) / denominator.
  template <class Row, class Element, class Number>
  MONGE_HD Element backward(Element z, Element u, Number log_total, Number weights_dot_u) const {
    const Element above = Row::positive(z), below = Row::positive(Number(0) - z);
    return Row::exp(z - log_total) * (above * u - (above - below) * weights_dot_u);
  }

 private:
  /// |e^z - 1| / e^scale, as e^max(z, 0) (1 - e^-|z|): scores near 0 lose nothing, large ones do not overflow.
  template <class Row, class Element, class Number>
  MONGE_HD static Element gap(Element z, Number scale) {
    const Element above = Row::relu(z), below = Row::relu(Number(0) - z);
    return Row::exp(above - scale) * (Number(0) - Row::expm1(Number(0) - above - below));
  }
};
