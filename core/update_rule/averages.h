// The decaying averages that rules keep. Part of core/update_rule/steps.h.

/// beta old + (1 - beta) x
template <class V>
class Average {
 public:
  MONGE_HD explicit Average(double beta) : kept_(beta), added_(1.0 - beta) {}
  MONGE_HD V operator()(V old, V x) const { return mul_add(kept_, old, added_ * x); }

 private:
  V kept_, added_;
};

/// Takes g into v, the average of g^2, and returns sqrt(v / (1 - beta^t)) + eps: what Adam and its kin divide by.
template <class V>
class AdamRoot {
 public:
  MONGE_HD AdamRoot(double beta, double eps, double step)
      : average_(beta), scale_(1.0 / (1.0 - std::pow(beta, step))), eps_(eps) {}
  MONGE_HD V operator()(V& v, V g) const {
    v = average_(v, g * g);
    return sqrt(v * scale_) + eps_;
  }

 private:
  Average<V> average_;
  V scale_, eps_;
};
