// MARS-AdamW: AdamW on gradients with reduced variance (Yuan et al. 2024, arXiv:2411.10438), in its approximate form,
// which takes the gradient of the last step for that of the last parameters on this batch. Part of
// core/update_rule/steps.h.
//
//   c = g + gamma b1 / (1 - b1) (g - previous)  (c = g at the first step)      previous = g
//   then AdamW with c in the place of g
//
// The paper also limits the norm of c to 1 for each tensor; here the global limit of the gradient's norm has to do.

template <class V>
class UpdateStep<MarsRule, V> {
 public:
  MONGE_HD UpdateStep(const MarsRule& rule, const StepNumbers& at)
      : adamw_({rule.beta1, rule.beta2, rule.eps}, at),
        correction_(rule.gamma * rule.beta1 / (1.0 - rule.beta1)),
        first_(at.step == 1.0) {}

  MONGE_HD V operator()(V p, V g, V& m, V& v, V& previous) const {
    const V c = first_ ? g : mul_add(correction_, g - previous, g);
    previous = g;
    return adamw_(p, c, m, v);
  }

 private:
  UpdateStep<AdamWRule, V> adamw_;
  V correction_;
  bool first_;
};
