// RMSProp with bias correction (Tieleman & Hinton 2012, lecture 6.5): AdamW without a first moment. Part of
// core/update_rule/steps.h.
//
//   v = b v + (1 - b) g^2        p = (1 - lr wd) p - lr g / (sqrt(v / (1 - b^t)) + eps)

template <class V>
class UpdateStep<RmsRule, V> {
 public:
  MONGE_HD UpdateStep(const RmsRule& rule, const StepNumbers& at)
      : keep_(at.keep), rate_(at.lr), root_(rule.beta, rule.eps, at.step) {}

  MONGE_HD V operator()(V p, V g, V& v) const { return neg_mul_add(rate_, g / root_(v, g), keep_ * p); }

 private:
  V keep_, rate_;
  AdamRoot<V> root_;
};
