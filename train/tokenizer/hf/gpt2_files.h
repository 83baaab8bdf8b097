// GPT-2's vocab.json and merges.txt as one tokenizer.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace monge::train::hf {

/// The files of a folder. Throws InputError with file and line of what is wrong.
nlohmann::json read_gpt2_files(const std::string& folder);

/// The content of a file. Throws InputError where it cannot be read.
std::string read_file(const std::string& path);

}  // namespace monge::train::hf
