// The program `monge` with an update rule of its own for matrices: momentum whose rows are rescaled to a root mean
// square of 1.
#include <monge.h>

namespace {

using namespace monge::optim;  // NOLINT(google-build-using-namespace): its arithmetic reads like the formula

struct RowMomentumOptions : MatrixRuleOptions {
  double momentum = 0.9;
  void fields(monge::Fields& f) override {
    MatrixRuleOptions::fields(f);
    f("momentum", momentum, {.doc = "decay of the averaged gradient", .min = 0.0, .max = 1.0});
  }
};

class RowMomentum : public MatrixRule {
 public:
  RowMomentum(const RowMomentumOptions& options, const RuleContext& context)
      : MatrixRule("row_momentum", options, context), decay_(options.momentum) {
    for (const Matrix& matrix : matrices()) momentum_.push_back(make_state(matrix.shape()));
  }

  /// What a checkpoint keeps. A tensor that is not named here is lost in a resume.
  std::vector<monge::NamedTensor> state() const override {
    std::vector<monge::NamedTensor> out = MatrixRule::state();
    for (std::size_t i = 0; i < momentum_.size(); ++i) add_state(i, {{"momentum", momentum_[i]}}, out);
    return out;
  }

 private:
  void direction(std::size_t i, const Step& step, const monge::Tensor& gradient, const monge::Tensor& u) override {
    const monge::Tensor& m = momentum_[i];
    step.update_average(m, decay_, gradient);  // m = decay m + (1 - decay) g
    const monge::Tensor rms = sqrt(row_means(square(m)));
    div(m, repeat_columns(rms, m.size(1)), u);  // u = m / rms of its row
  }

  double decay_;
  std::vector<monge::Tensor> momentum_;
};

}  // namespace

int main(int argc, char** argv) {
  rules().add<RowMomentumOptions>("row_momentum", "momentum with rows of root mean square 1",
                                  [](const RowMomentumOptions& options, const RuleContext& context) {
                                    return std::make_unique<RowMomentum>(options, context);
                                  });
  return monge::tools::run(argc, argv);
}
