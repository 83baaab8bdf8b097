// AdEMAMix: AdamW with a second, slow average of the gradient (Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137).
// Part of core/update_rule/steps.h.
//
//   m = b1 m + (1 - b1) g        s = b3(t) s + (1 - b3(t)) g        v = b2 v + (1 - b2) g^2
//   p = (1 - lr wd) p - lr (m / (1 - b1^t) + alpha(t) s) / (sqrt(v / (1 - b2^t)) + eps)
//
// During the ramp, with r = min(1, t / ramp), alpha(t) = r alpha and the half-life of s grows linearly from that of m:
// 1 / ln b3(t) = (1 - r) / ln b1 + r / ln b3. The slow average is not freed of its bias towards 0.

template <class V>
class UpdateStep<AdEMAMixRule, V> {
 public:
  MONGE_HD UpdateStep(const AdEMAMixRule& rule, const StepNumbers& at) : UpdateStep(rule, at, risen(rule, at)) {}

  MONGE_HD V operator()(V p, V g, V& m, V& slow, V& v) const {
    m = average_(m, g);
    slow = slow_average_(slow, g);
    return neg_mul_add(rate_, mul_add(alpha_, slow, m) / root_(v, g), keep_ * p);
  }

 private:
  /// r of the ramp.
  MONGE_HD static double risen(const AdEMAMixRule& rule, const StepNumbers& at) {
    const auto ramp = static_cast<double>(rule.ramp);
    return at.step < ramp ? at.step / ramp : 1.0;
  }
  MONGE_HD UpdateStep(const AdEMAMixRule& rule, const StepNumbers& at, double r)
      : keep_(at.keep),
        rate_(at.lr / (1.0 - std::pow(rule.beta1, at.step))),
        alpha_(r * rule.alpha * (1.0 - std::pow(rule.beta1, at.step))),  // rate divides it out again
        average_(rule.beta1),
        slow_average_(std::exp(1.0 / ((1.0 - r) / std::log(rule.beta1) + r / std::log(rule.beta3)))),
        root_(rule.beta2, rule.eps, at.step) {}

  V keep_, rate_, alpha_;
  Average<V> average_, slow_average_;
  AdamRoot<V> root_;
};
