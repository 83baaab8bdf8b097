// AdamW (Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101), in PyTorch's form. Part of
// core/update_rule/steps.h.
//
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//   p = (1 - lr wd) p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

template <class V>
class UpdateStep<AdamWRule, V> {
 public:
  MONGE_HD UpdateStep(const AdamWRule& rule, const StepNumbers& at)
      : keep_(at.keep),
        rate_(at.lr / (1.0 - std::pow(rule.beta1, at.step))),
        average_(rule.beta1),
        root_(rule.beta2, rule.eps, at.step) {}

  MONGE_HD V operator()(V p, V g, V& m, V& v) const {
    m = average_(m, g);
    return neg_mul_add(rate_, m / root_(v, g), keep_ * p);
  }

 private:
  V keep_, rate_;
  Average<V> average_;
  AdamRoot<V> root_;
};
