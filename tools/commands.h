// The subcommands, one file each. `add_...` declares arguments and sets the callback; what the callback finds out goes
// into `exit_code`.
#pragma once

#include "core/error.h"

namespace CLI {
class App;
}

namespace monge::tools {

void add_train(CLI::App& program, ExitCode& exit_code);
void add_sample(CLI::App& program);
void add_eval(CLI::App& program);
void add_info(CLI::App& program);
void add_bench(CLI::App& program);
void add_compare(CLI::App& program, ExitCode& exit_code);
void add_report(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_verify(CLI::App& program);

}  // namespace monge::tools
