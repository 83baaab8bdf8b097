// Lion (Chen et al. 2023, arXiv:2302.06675). Part of core/update_rule/steps.h.
//
//   c = b1 m + (1 - b1) g      p = (1 - lr wd) p - lr sign(c)      m = b2 m + (1 - b2) g
//
// With b1 = b2 the sign is that of the new m: Signum.

template <class V>
class UpdateStep<LionRule, V> {
 public:
  MONGE_HD UpdateStep(const LionRule& rule, const StepNumbers& at)
      : keep_(at.keep), rate_(at.lr), ahead_(rule.beta1), average_(rule.beta2) {}

  MONGE_HD V operator()(V p, V g, V& m) const {
    const V c = ahead_(m, g);
    m = average_(m, g);
    return neg_mul_add(rate_, sign(c), keep_ * p);
  }

 private:
  V keep_, rate_;
  Average<V> ahead_, average_;
};
