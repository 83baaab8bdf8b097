// monge tokenize FILE [key.path=value ...] [--json] [--save FILE] [--decoded FILE]
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/json.h"
#include "core/options/yaml.h"
#include "tools/commands.h"
#include "tools/program/key_help.h"
#include "train/folder/output_file.h"
#include "train/tokenizer/tokenizer.h"

namespace monge::tools {
namespace {

using train::tokenizers;
using Clock = std::chrono::steady_clock;

struct TokenizeOptions : Options {
  Choice tokenizer = tokenizers().choose("bpe");
  void fields(Fields& f) override { f("tokenizer", tokenizer, tokenizers(), {.doc = "text to tokens"}); }
};

struct Arguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string save, decoded;  // empty: nowhere
  bool json = false;
};

std::string read(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw InputError(fmt::format("'{}' is no plain file; name a text file", path));
  }
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (text.empty()) throw InputError(fmt::format("'{}' cannot be read, or is empty; name a text file", path));
  return text;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The first tokens, each in brackets.
std::string start_of(const train::Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  std::string out;
  for (std::size_t i = 0; i < ids.size() && out.size() < 100; ++i) {
    out += '[';
    for (const char c : tokenizer.decode({ids[i]})) out += c == '\n' ? "\\n" : std::string(1, c);
    out += ']';
  }
  return out;
}

void run(const Arguments& arguments) {
  TokenizeOptions options;
  read_yaml_text("{}", "monge tokenize", arguments.overrides, options);
  const std::string text = read(arguments.file);
  std::optional<train::OutputFile> save, decoded;
  const std::vector<std::filesystem::path> read_files{arguments.file};
  if (!arguments.save.empty()) save.emplace("--save", arguments.save, read_files);
  if (!arguments.decoded.empty()) decoded.emplace("--decoded", arguments.decoded, read_files);

  const auto start = Clock::now();
  const auto tokenizer = tokenizers().make(options.tokenizer, text);
  const double learning = seconds_since(start);
  std::vector<std::int32_t> ids;
  double encoding = 0.0;
  for (int round = 0; round < 5; ++round) {
    const auto begin = Clock::now();
    ids = tokenizer->encode(text);
    const double seconds = seconds_since(begin);
    encoding = round == 0 ? seconds : std::min(encoding, seconds);
  }
  if (save) save->write(json_text({{"ids", ids}, {"tokenizer", parse_json(tokenizer->save())}}) + "\n");
  if (decoded) decoded->write(tokenizer->decode(ids));
  const auto bytes = static_cast<double>(text.size()), tokens = static_cast<double>(ids.size());
  if (arguments.json) {
    fmt::print("{}\n", json_text({{"tokenizer", tokenizer->kind()},
                                  {"vocab", tokenizer->vocab()},
                                  {"bytes", text.size()},
                                  {"tokens", ids.size()},
                                  {"learning_seconds", learning},
                                  {"encoding_seconds", encoding}}));
    return;
  }
  fmt::print("tokenizer  {}, {} tokens, made in {:.2f} s\n", tokenizer->kind(), tokenizer->vocab(), learning);
  fmt::print("text       {} bytes, {} tokens of {:.2f} bytes\n", text.size(), ids.size(), bytes / tokens);
  fmt::print("encoding   {:.1f} MB/s on one thread, the fastest of five\n", bytes / encoding / 1e6);
  fmt::print("start      {}\n", start_of(*tokenizer, ids));
}

}  // namespace

void add_tokenize(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("tokenize", "What a tokenizer makes of a text, and how fast");
  command.option("file", a->file, "Text to learn from and to encode").required();
  command.option("overrides", a->overrides, "tokenizer.kind=..., tokenizer.vocab=...");
  command.option("--save", a->save, "Write the tokenizer and the token ids to this file, as JSON");
  command.option("--decoded", a->decoded, "Write the text that the token ids become to this file");
  command.flag("--json", a->json, "One JSON object instead of text");
  add_key_help(
      command, "monge tokenize", [] { return std::make_unique<TokenizeOptions>(); },
      [a] { return a->overrides.empty() ? a->file : a->overrides.back(); });
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
