// monge verify attention [RUN_OR_CHECKPOINT] [--json] [--seed n] [--figure FILE.svg]
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "tools/commands.h"
#include "tools/verify/claims.h"
#include "tools/verify/figure.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from, figure;
  std::uint64_t seed = 1;
  bool json = false;
};

void run(const Arguments& arguments) {
  std::vector<Findings> all{examine_random(arguments.seed)};
  if (!arguments.from.empty())
    all.push_back(examine(checkpoint_problems(arguments.from, arguments.seed), arguments.seed));
  const auto wrong = missed(all);
  if (arguments.json) {
    fmt::print("{}\n", json_text(to_json(all)));
  } else {
    for (const Findings& findings : all) fmt::print("{}\n", table_text(findings));
    if (wrong.empty()) fmt::print("Every claim is within its bound.\n\n");
    fmt::print("{}", references_text(all));
  }
  if (!arguments.figure.empty()) write_figure(arguments.figure);
  if (!wrong.empty()) {
    throw RunError(fmt::format("{} of the claims missed its bound, first: {} ({:.1e})", wrong.size(),
                               wrong.front().text, wrong.front().measured));
  }
}

}  // namespace

void add_verify(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command verify = program.subcommand("verify", "Check the mathematics against independent computations");
  verify.require_subcommand();
  Command attention = verify.subcommand(
      "attention",
      "Attention as entropic optimal transport and its natural gradient: on random problems, and on the "
      "layers of a trained model; exit code 3 when a bound is missed");
  attention.option("run", a->from, "Run folder (its newest checkpoint) or one checkpoint");
  attention.option("--seed", a->seed, "Of the random problems").show_default();
  attention.option("--figure", a->figure, "Draw attention rows of every kind into this SVG file");
  attention.flag("--json", a->json, "One JSON object instead of tables");
  attention.action([a] { run(*a); });
}

}  // namespace monge::tools
