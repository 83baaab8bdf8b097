// The keys of options in a command's --help: the sections first, each of them when it is asked for.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/options/fields.h"
#include "tools/program/command.h"

namespace monge::tools {

/// Makes `command --help` end with the sections of `options` and their kinds, and `command --help TOPIC` show the keys
/// of one: "optimizer", "model.mlp", "optimizer.muon" or "muon" (a kind), "train.batch"; for anything else
/// InputError. `topic` is what was given last, and `whose` says whose keys they are.
void add_key_help(Command& command, const std::string& whose, std::function<std::unique_ptr<Options>()> options,
                  std::function<std::string()> topic);

}  // namespace monge::tools
