// Stochastic gradient descent, and with momentum in PyTorch's form (Sutskever et al. 2013 up to the scale of the
// buffer). Part of core/update_rule/steps.h.
//
//   b = mu b + g  (b = g at the first step)      u = nesterov ? g + mu b : b      without momentum u = g
//   p = (1 - lr wd) p - lr u

template <class V>
class UpdateStep<SgdRule, V> {
 public:
  MONGE_HD UpdateStep(const SgdRule&, const StepNumbers& at) : keep_(at.keep), rate_(at.lr) {}
  MONGE_HD V operator()(V p, V g) const { return neg_mul_add(rate_, g, keep_ * p); }

 private:
  V keep_, rate_;
};

template <class V>
class UpdateStep<MomentumRule, V> {
 public:
  MONGE_HD UpdateStep(const MomentumRule& rule, const StepNumbers& at)
      : keep_(at.keep), rate_(at.lr), momentum_(rule.momentum), nesterov_(rule.nesterov), first_(at.step == 1.0) {}

  MONGE_HD V operator()(V p, V g, V& b) const {
    b = first_ ? g : mul_add(momentum_, b, g);
    const V u = nesterov_ ? mul_add(momentum_, b, g) : b;
    return neg_mul_add(rate_, u, keep_ * p);
  }

 private:
  V keep_, rate_, momentum_;
  bool nesterov_, first_;
};
