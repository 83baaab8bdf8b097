#include "train/tokenizer/hf/gpt2_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "train/tokenizer/hf/json_place.h"
#include "train/tokenizer/utf8.h"

namespace monge::train::hf {

std::string read_file(const std::string& path) {
  std::error_code error;
  std::ifstream in;
  if (std::filesystem::is_regular_file(path, error)) in.open(path, std::ios::binary);
  if (!in.is_open()) throw InputError(fmt::format("data.tokenizer.path: '{}' is no file that can be read", path));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

nlohmann::json read_gpt2_files(const std::string& folder) {
  const std::string vocab_file = folder + "/vocab.json", merges_file = folder + "/merges.txt";
  nlohmann::json vocab = JsonPlace::parse(read_file(vocab_file), vocab_file);
  const std::string text = read_file(merges_file);
  if (!is_utf8(text)) throw InputError(fmt::format("{}: is no UTF-8; the file is damaged, get it anew", merges_file));

  nlohmann::json merges = nlohmann::json::array();
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    begin = end + 1;
    ++line_number;
    if (line.empty() || line.starts_with("#version")) continue;
    if (std::ranges::count(line, ' ') != 1) {
      throw InputError(
          fmt::format("{}: line {}: '{}' must be two tokens with one space between", merges_file, line_number, line));
    }
    merges.push_back(std::move(line));
  }
  // What GPT-2 ends its documents with is no word of a text.
  nlohmann::json added = nlohmann::json::array();
  constexpr const char* end_of_text = "<|endoftext|>";
  if (vocab.is_object() && vocab.contains(end_of_text)) {
    added.push_back({{"id", vocab[end_of_text]}, {"content", end_of_text}, {"normalized", false}, {"special", true}});
  }
  const nlohmann::json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  return {{"added_tokens", added},
          {"pre_tokenizer", bytes},
          {"decoder", bytes},
          {"model", {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}}}};
}

}  // namespace monge::train::hf
