// Compositional Muon (Keigwin, Yang, Pai, Zhang & DeWulf 2026, "Towards compositional steepest descent", Tilde
// Research, and tilde-research/comp-muon-release): the loss sees W_q and W_k of a head through their product alone, and
// W_v and W_o likewise. So the step of a matrix is the steepest one for a bound on what it does to the product, half
// the bound for each of the two,
//
//   u = s/2 L polar(L M R) R
//
// with M and s those of muon.h and L, R the inverse roots of a metric (circuit_metric.h): L = C^-1 of W_q, W_k and W_v,
// head by head, R = C^-1 of W_o, whose heads are orthogonalised together. Momentum is that of the gradients themselves.
// All other matrices take the steps of Muon. The authors have s = 1: `scale: keller`, where heads have no more rows
// than columns.
//
// `keep_norm` gives the step of each matrix the norm of s polar(L M R), which is that of Muon's for matrices of full
// rank; the authors' per_mat_renorm is half of that.
#include <algorithm>
#include <optional>

#include "core/error.h"
#include "optim/arithmetic.h"
#include "optim/matrix/circuit_metric.h"
#include "optim/matrix/muon.h"
#include "optim/rules.h"
#include "optim/rules/adamw_direction.h"

namespace monge::optim {
namespace {

struct CompositionalMuonOptions : MuonOptions {
  std::string circuits = "both";
  std::string split = "half";
  double damping = 1.0;
  bool keep_norm = false;
  void fields(Fields& f) override {
    MuonOptions::fields(f);
    f("circuits", circuits,
      {.doc =
           "whose matrices take compositional steps: qk, W_q and W_k; ov, W_v and W_o; the others take those of muon",
       .choices = {"both", "qk", "ov"}});
    f("split", split,
      {.doc = "what stands for C of a partner P: half, (P + damping I)^1/2; isotropic, its scalar mean",
       .choices = {"half", "isotropic"}});
    f("damping", damping,
      {.doc =
           "added to the Gram matrices of the partners; small ones make steps of 1 / damping where a partner vanishes",
       .min = 0.0,
       .max = 1e12,
       .exclusive_min = true});
    f("keep_norm", keep_norm, {.doc = "steps of the norm of muon's for each matrix"});
  }
  std::vector<Leg> legs() const {
    if (circuits == "qk") return {Leg::query, Leg::key};
    if (circuits == "ov") return {Leg::value, Leg::output};
    return {Leg::query, Leg::key, Leg::value, Leg::output};
  }
};

class CompositionalMuon : public Muon {
 public:
  CompositionalMuon(const CompositionalMuonOptions& options, const RuleContext& context)
      : Muon("compositional_muon", options, context),
        keep_norm_(options.keep_norm),
        circuits_(circuits_of(context.model, context.store)) {
    const std::vector<Leg> legs = options.legs();
    metric_ =
        make_partner_metric(circuits_, context.store,
                            {.damping = options.damping, .isotropic = options.split == "isotropic", .legs = legs});
    for (const Matrix& matrix : matrices()) parts_.push_back(circuit_part(circuits_, legs, matrix));
  }

  void begin(std::int64_t number) override {
    Muon::begin(number);
    metric_->begin(number);
  }
  bool repeats(std::int64_t number) const override { return metric_->repeats(number); }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> out = Muon::state();
    for (const NamedTensor& s : metric_->state()) out.push_back({fmt::format("{}.{}", name(), s.name), s.value});
    return out;
  }

  std::vector<std::string> notes() const override {
    std::vector<std::string> out = Muon::notes();
    const auto plain = std::ranges::count_if(parts_, [](const auto& part) { return !part; });
    out.push_back(fmt::format(
        "compositional_muon: {} matrices take steps for the circuit of their attention layer, {} those of muon",
        std::ssize(parts_) - plain, plain));
    for (std::string& note : metric_->notes()) out.push_back(std::move(note));
    return out;
  }

 private:
  void prepare(const Step& step) override { metric_->measure(step); }

  void orthogonalise(std::size_t i, const Step& step, const Tensor& m, const Tensor& o) override {
    if (!parts_[i]) return Muon::orthogonalise(i, step, m, o);
    const CircuitPart& part = *parts_[i];
    const LegFactors f = metric_->factors(part.circuit, part.leg).of_heads(part.first, part.heads);
    const Tensor inner = between(f, m), turned = Tensor::like(m);
    const std::int64_t blocks = part.by_rows() ? part.heads : 1, rows = m.size(0) / blocks;
    for (std::int64_t b = 0; b < blocks; ++b) {
      polar_of(inner.slice(b * rows, (b + 1) * rows), turned.slice(b * rows, (b + 1) * rows));
    }
    copy(between(f, turned), o);
    keep_norm_ ? graft(o, turned) : static_cast<void>(scale(o, 0.5, o));
  }

  bool keep_norm_;
  std::vector<Circuit> circuits_;
  std::unique_ptr<CircuitMetric> metric_;
  std::vector<std::optional<CircuitPart>> parts_;  // of the matrices; none: Muon's
};

}  // namespace

void add_compositional_muon(RuleRegistry& registry) {
  registry.add<CompositionalMuonOptions>("compositional_muon",
                                         "muon of the products W_q^T W_k and W_o W_v of attention",
                                         [](const CompositionalMuonOptions& o, const RuleContext& c) {
                                           return std::make_unique<CompositionalMuon>(o, c);
                                         });
}

}  // namespace monge::optim
