// monge verify SUBJECT [--json] [--seed n] [--figure FILE.svg]: attention, and a paper each; or all of them
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/json.h"
#include "tools/commands.h"
#include "tools/verify/claims.h"
#include "tools/verify/figure.h"
#include "tools/verify/papers/aaren.h"
#include "tools/verify/papers/goat.h"
#include "tools/verify/papers/in_context.h"
#include "tools/verify/papers/sigmoid.h"
#include "tools/verify/papers/spectrum.h"
#include "tools/verify/papers/spline.h"
#include "tools/verify/papers/spline_run.h"
#include "train/folder/output_file.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from, figure;
  std::uint64_t seed = 1;
  bool json = false;
};

Examined examine_attention(const Arguments& arguments) {
  Examined out{{examine_random(arguments.seed)}, figure_svg};
  if (!arguments.from.empty()) {
    out.findings.push_back(examine(checkpoint_problems(arguments.from, arguments.seed), arguments.seed));
  }
  return out;
}

/// What can be verified.
struct Subject {
  const char *name, *help;
  const char* figure;  // what it draws; nullptr: nothing
  Examined (*examine)(const Arguments&);
  bool takes_run = false;
};

constexpr Subject subjects[] = {
    {"attention",
     "Attention as entropic optimal transport and its natural gradient: on random problems, and on the layers of a "
     "trained model",
     "attention rows of every kind", examine_attention, true},
    {"spectrum",
     "Spectra of softmax attention and of its Gaussian linear model (arXiv:2510.06685), and how a trained run left "
     "them",
     "both spectra beside the law of Marchenko and Pastur, or what a run's layers made of it",
     [](const Arguments& a) { return examine_spectrum(a.from, a.seed); }, true},
    {"sigmoid", "Sigmoid attention and the size of its outputs at the start (arXiv:2409.04431)",
     "row sums and output norms against the number of keys",
     [](const Arguments& a) { return examine_sigmoid(a.seed); }},
    {"spline", "Attention of relu as a cubic spline, softplus as the smooth one (arXiv:2408.09624)",
     "an output along a line with its knots",
     [](const Arguments& a) {
       Examined out = examine_spline(a.seed);
       if (!a.from.empty()) out.findings.push_back(trained_spline_findings(a.from, a.seed));
       return out;
     },
     true},
    {"in_context", "Softmax units that learn functions from their values (arXiv:2402.11639)",
     "learned windows, and errors under each update of W_q and W_k",
     [](const Arguments& a) { return examine_in_context(a.seed); }},
    {"goat", "GOAT, a trained log-prior of distances and keys (arXiv:2601.15380)",
     "priors that its parameters can make", [](const Arguments& a) { return examine_goat(a.seed); }},
    {"aaren", "Attention of one query as a recurrence (arXiv:2405.13956)",
     "the weights of some tokens as the sequence goes on", [](const Arguments& a) { return examine_aaren(a.seed); }},
};

Examined examine_all(const Arguments& arguments) {
  Examined out;
  for (const Subject& subject : subjects) {
    for (Findings& findings : subject.examine(arguments).findings) out.findings.push_back(std::move(findings));
  }
  return out;
}

constexpr Subject everything{"all", "All of these, on random problems", nullptr, examine_all};

void print(const std::vector<Findings>& all, bool json) {
  if (json) {
    fmt::print("{}\n", json_text(to_json(all)));
    return;
  }
  for (const Findings& findings : all) fmt::print("{}\n", table_text(findings));
  if (missed(all).empty()) fmt::print("Every claim is within its bound.\n\n");
  fmt::print("{}", references_text(all));
}

void run(const Subject& subject, const Arguments& arguments) {
  std::optional<train::OutputFile> figure;
  if (!arguments.figure.empty()) figure.emplace("--figure", arguments.figure);
  const Examined examined = subject.examine(arguments);
  print(examined.findings, arguments.json);
  if (figure) figure->write(examined.figure());
  const auto wrong = missed(examined.findings);
  if (!wrong.empty()) {
    throw RunError(fmt::format("{} of the claims missed its bound, first: {} ({:.1e})", wrong.size(),
                               wrong.front().text, wrong.front().measured));
  }
}

void add_subject(Command& verify, const Subject& subject) {
  auto a = std::make_shared<Arguments>();
  Command command = verify.subcommand(subject.name, subject.help);
  if (subject.takes_run) command.option("run", a->from, "Run folder or one checkpoint");
  command.option("--seed", a->seed, "Of the random problems").show_default();
  if (subject.figure != nullptr) {
    command.option("--figure", a->figure, fmt::format("Draw {} into this SVG file", subject.figure));
  }
  command.flag("--json", a->json, "One JSON object instead of tables");
  command.action([a, &subject] { run(subject, *a); });
}

}  // namespace

void add_verify(Command& program) {
  Command verify = program.subcommand(
      "verify", "Check claims of papers against independent computations; exit code 3 when a bound is missed");
  verify.require_subcommand();
  for (const Subject& subject : subjects) add_subject(verify, subject);
  add_subject(verify, everything);
}

}  // namespace monge::tools
