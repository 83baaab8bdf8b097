#include "train/tokenizer/tokenizer.h"

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/options/yaml.h"
#include "train/tokenizer/bpe_tokenizer.h"
#include "train/tokenizer/byte_tokenizer.h"
#include "train/tokenizer/char_tokenizer.h"
#include "train/tokenizer/hf/hf_tokenizer.h"

namespace monge::train {
using TokenizerRegistry = Registry<Tokenizer, std::string_view>;

TokenizerRegistry& tokenizers() {
  static auto& registry = *built_in([] {
    auto* r = new TokenizerRegistry("tokenizer");
    r->add<BpeOptions>("bpe", "byte pair encoding, learned from the text: takes any file", make_bpe_tokenizer);
    r->add<NoOptions>("byte", "one token per byte: takes any file, vocabulary 256", make_byte_tokenizer);
    r->add<NoOptions>("char", "one token per character of the text, in code point order", make_char_tokenizer);
    r->add<HfOptions>("hf", "byte pairs of Hugging Face files: tokenizer.json, or GPT-2's vocab.json and merges.txt",
                      make_hf_tokenizer);
    return r;
  }());
  return registry;
}

TokenizerRegistry& saved_tokenizers() {
  static auto& registry = *built_in([] {
    auto* r = new TokenizerRegistry("saved tokenizer");
    r->add<NoOptions>("bpe", "keeps the pairs that were put together", load_bpe_tokenizer);
    r->add<NoOptions>("byte", "needs nothing but its name", make_byte_tokenizer);
    r->add<NoOptions>("char", "keeps its characters in the order of their ids", load_char_tokenizer);
    r->add<NoOptions>("hf", "keeps its tokenizer.json", load_hf_tokenizer);
    return r;
  }());
  return registry;
}

std::string text_after(const Tokenizer& tokenizer, std::optional<std::int32_t> before,
                       const std::vector<std::int32_t>& ids) {
  if (!before) return tokenizer.decode(ids);
  std::vector<std::int32_t> all = {*before};
  all.insert(all.end(), ids.begin(), ids.end());
  return tokenizer.decode(all).substr(tokenizer.decode({*before}).size());
}

std::string tokenizer_identity(const Choice& choice) {
  std::string identity = choice.kind + "\n" + write_yaml(*choice.options);
  if (const auto* options = dynamic_cast<const HfOptions*>(choice.options.get())) {
    identity += fmt::format("{:016x}\n", options->content());
  }
  return identity;
}

std::unique_ptr<Tokenizer> load_tokenizer(std::string_view json) {
  const auto saved = parse_json(json);
  if (!saved.is_object() || !saved.contains("kind") || !saved["kind"].is_string()) {
    throw InputError("a saved tokenizer must be a JSON object with a \"kind\", such as {\"kind\": \"byte\"}");
  }
  return saved_tokenizers().make(saved_tokenizers().choose(saved["kind"].get<std::string>()), json);
}

}  // namespace monge::train
