// Signum, the sign of the averaged gradient (Bernstein et al. 2018, arXiv:1802.04434). Part of
// core/update_rule/steps.h.
//
//   m = b m + (1 - b) g      p = (1 - lr wd) p - lr sign(m)

template <class V>
class UpdateStep<SignumRule, V> {
 public:
  MONGE_HD UpdateStep(const SignumRule& rule, const StepNumbers& at)
      : keep_(at.keep), rate_(at.lr), average_(rule.beta) {}

  MONGE_HD V operator()(V p, V g, V& m) const {
    m = average_(m, g);
    return neg_mul_add(rate_, sign(m), keep_ * p);
  }

 private:
  V keep_, rate_;
  Average<V> average_;
};
