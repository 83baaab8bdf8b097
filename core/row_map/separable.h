// The separable maps: each weight depends on its own score, so c is infinite.

/// What they share: no statistic, no normalisation. `Self` gives weight<Row>(z, n) in a row of n keys, and curvature.
template <class Self>
struct SeparableMap {
  static constexpr RowStatistic statistic = RowStatistic::none;

  template <class Row>
  MONGE_HD typename Row::Number weights(Row& row) const {
    recompute(row, 0);
    return 0;
  }

  template <class Row>
  MONGE_HD void recompute(Row& row, typename Row::Number) const {
    using Number = typename Row::Number;
    if (row.size() == 0) return;
    const Self& self = static_cast<const Self&>(*this);
    const auto at = self.template prepare<Row>(static_cast<Number>(row.size()));
    row.apply([&](auto z) MONGE_LAMBDA { return self.template weight<Row>(z, at); });
  }

  template <class Row>
  MONGE_HD typename Row::Number slack(typename Row::Number) const {
    return std::numeric_limits<typename Row::Number>::infinity();
  }
};

/// sigmoid(z + b), s = a (1 - a): the mean of independent draws of each key (Ramapuram et al. 2024, arXiv:2409.04431).
/// Balanced, b = -log n: the prior 1 / (n + 1), under which a row of zero scores sums to about one. Another b is a
/// prior of its own (LogPrior).
struct SigmoidMap : SeparableMap<SigmoidMap> {
  static constexpr const char* name = "sigmoid";
  static constexpr Metric metric = Metric::bernoulli;
  static constexpr RowMapText text{.weights = "1 / (1 + exp(-z - b)), b = -log n",
                                   .s = "a (1 - a)",
                                   .c = "infinite",
                                   .use = "keys that do not compete"};
  static constexpr const char* bias_text =
      "added to every score: one number, or one for each head; []: -log n in a row of n keys";
  bool balanced = true;

  void take_bias() { balanced = false; }

  /// The bias of a row of n keys.
  template <class Row, class Number>
  MONGE_HD Number prepare(Number n) const {
    return balanced ? -Row::log(n) : Number(0);
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element weight(Element z, Number bias) const {
    return Number(1) / (Number(1) + Row::exp(Number(0) - (z + bias)));
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number) const {
    return weight * (Number(1) - weight);
  }
};

/// relu(z) / n, s = 1[z > 0] / n (Wortsman et al. 2023, arXiv:2309.08586).
struct ReluMap : SeparableMap<ReluMap> {
  static constexpr const char* name = "relu";
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr RowMapText text{
      .weights = "relu(z) / n", .s = "1/n where z > 0", .c = "infinite", .use = "piecewise cubic layers"};

  template <class Row, class Number>
  MONGE_HD Number prepare(Number n) const {
    return 1 / n;
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element weight(Element z, Number share) const {
    return Row::relu(z) * share;
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number n) const {
    return Row::positive(weight) * (1 / n);
  }
};

/// log(1 + e^(beta z)) / (beta n), s = sigmoid(beta z) / n = (1 - e^(-beta n a)) / n: relu with a rounded corner.
struct SoftplusMap : SeparableMap<SoftplusMap> {
  static constexpr const char* name = "softplus";
  static constexpr Metric metric = Metric::conjugate_hessian;
  static constexpr RowMapText text{.weights = "log(1 + exp(beta z)) / (beta n)",
                                   .s = "sigmoid(beta z) / n",
                                   .c = "infinite",
                                   .use = "relu with a rounded corner"};
  double beta = 1.0;  // > 0; relu in the limit

  template <class F>
  void fields(F& f) {
    f("beta", beta, {.doc = "sharpness of the corner; large: relu", .min = 0.0, .exclusive_min = true});
  }

  template <class Row, class Number>
  MONGE_HD Number prepare(Number n) const {
    return 1 / (static_cast<Number>(beta) * n);
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element weight(Element z, Number share) const {
    const Element x = z * static_cast<Number>(beta);
    const Element top = Row::relu(x);
    return (top + Row::log1p(Row::exp(x - top - top))) * share;  // x - 2 relu(x) = -|x|
  }
  template <class Row, class Element, class Number>
  MONGE_HD Element curvature(Element weight, Number n) const {
    return Row::expm1(weight * (-static_cast<Number>(beta) * n)) * (-1 / n);
  }
};
