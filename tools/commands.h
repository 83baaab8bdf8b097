// The subcommands, one file each. `add_...` declares arguments and sets the callback; what the callback finds out goes
// into `exit_code`.
#pragma once

#include "core/error.h"
#include "tools/program/command.h"

namespace monge::tools {

void add_train(Command& program, ExitCode& exit_code);
void add_sample(Command& program);
void add_eval(Command& program);
void add_export(Command& program);
void add_import(Command& program);
void add_info(Command& program);
void add_inspect(Command& program);
void add_bench(Command& program);
void add_branch(Command& program);
void add_compare(Command& program, ExitCode& exit_code);
void add_report(Command& program);
void add_tokenize(Command& program);
void add_verify(Command& program);

}  // namespace monge::tools
