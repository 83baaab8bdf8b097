// monge branch RUN_OR_CHECKPOINT --with KEY=VALUE [--with ...] [--steps N] [--json]
#include "tools/branch/branch.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "tools/commands.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from;
  std::vector<std::string> settings;
  std::int64_t steps = 10;
  bool json = false;
};

Json json_of(const Branch& b) {
  Json out{{"step", b.step},
           {"settings", b.settings},
           {"loss_before", b.before},
           {"loss_after", b.after},
           {"loss_after_attention", b.after_attention}};
  for (const BranchedMatrices& m : b.matrices) {
    out["matrices"][m.name] = {{"length", m.length}, {"relative", m.relative}, {"cosine", m.cosine}};
  }
  return out;
}

void run(const Arguments& arguments) {
  const std::vector<Branch> branches = branch(arguments.from, arguments.settings, arguments.steps);
  if (arguments.json) {
    Json out = Json::array();
    for (const Branch& b : branches) out.push_back(json_of(b));
    fmt::print("{}\n", json_text(out));
    return;
  }
  fmt::print("Validation loss before and after {} step{}, and where W_q and W_k alone had\n", arguments.steps,
             arguments.steps == 1 ? "" : "s");
  fmt::print("moved; how far each moved, and the cosine to what the run's own settings do.\n");
  std::int64_t step = -1;
  for (const Branch& b : branches) {
    if (b.step != step) fmt::print("\nstep {}, loss {:.4f}\n", b.step, b.before);
    step = b.step;
    fmt::print("  {}\n", b.settings.empty() ? "as the run" : b.settings);
    fmt::print("    loss {:+.5f}, of W_q and W_k {:+.5f}\n", b.after - b.before, b.after_attention - b.before);
    for (const BranchedMatrices& m : b.matrices) {
      fmt::print("    {:<6} length {:<10.4g}", m.name, m.length);
      if (!b.settings.empty()) fmt::print(" x {:<8.4g} cosine {:+.4f}", m.relative, m.cosine);
      fmt::print("\n");
    }
  }
}

}  // namespace

void add_branch(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("branch", "What the next steps of a run would do under other settings");
  command.option("run", a->from, "Run folder (all checkpoints that it kept) or one checkpoint").required();
  command.option("--with", a->settings, "key.path=value: a setting to try from each checkpoint; may be repeated")
      .required()
      .repeatable();
  command.option("--steps", a->steps, "Steps to take from each").show_default().whole_number(1);
  command.flag("--json", a->json, "A JSON array instead of text");
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
