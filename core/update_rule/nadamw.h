// NAdamW: AdamW that looks one step of momentum ahead (Dozat 2016, "Incorporating Nesterov Momentum into Adam", with
// constant momentum; decay as in arXiv:1711.05101). Part of core/update_rule/steps.h.
//
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   p = (1 - lr wd) p - lr (b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

template <class V>
class UpdateStep<NAdamWRule, V> {
 public:
  MONGE_HD UpdateStep(const NAdamWRule& rule, const StepNumbers& at)
      : keep_(at.keep),
        rate_(at.lr),
        ahead_(rule.beta1 / (1.0 - std::pow(rule.beta1, at.step + 1.0))),
        now_((1.0 - rule.beta1) / (1.0 - std::pow(rule.beta1, at.step))),
        average_(rule.beta1),
        root_(rule.beta2, rule.eps, at.step) {}

  MONGE_HD V operator()(V p, V g, V& m, V& v) const {
    m = average_(m, g);
    const V u = mul_add(ahead_, m, now_ * g) / root_(v, g);
    return neg_mul_add(rate_, u, keep_ * p);
  }

 private:
  V keep_, rate_, ahead_, now_;
  Average<V> average_;
  AdamRoot<V> root_;
};
