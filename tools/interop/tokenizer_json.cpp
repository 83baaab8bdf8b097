#include "tools/interop/tokenizer_json.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "train/tokenizer/hf/byte_characters.h"
#include "train/tokenizer/utf8.h"

namespace monge::tools {
namespace {

Json byte_level(bool decodes) {
  Json out{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  if (decodes) out["use_regex"] = true;  // plays no part there
  return out;
}

Json whole(const Json& pre_tokenizer, const Json& decoder, const Json& vocab, const Json& merges) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer},
          {"post_processor", nullptr},
          {"decoder", decoder},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

Json bytes_and_merges(const Json& saved) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(train::hf::byte_character(static_cast<unsigned char>(byte)));
  Json vocab = Json::object(), merges = Json::array();
  for (const std::string& token : tokens) vocab[token] = vocab.size();
  const Json none = Json::array();
  for (const Json& pair : saved.contains("merges") ? saved["merges"] : none) {
    const std::string &left = tokens[pair[0].get<std::size_t>()], &right = tokens[pair[1].get<std::size_t>()];
    const std::string token = left + right;
    if (vocab.contains(token)) {
      throw InputError(fmt::format(
          "data.tokenizer: bpe has two tokens for the bytes '{}' ({} and {}), and a tokenizer.json can have "
          "but one; learn the vocabulary anew, or export a run with another tokenizer",
          token, vocab[token].get<int>(), tokens.size()));
    }
    merges.push_back({left, right});
    vocab[token] = tokens.size();
    tokens.push_back(token);
  }
  // Runs of letters, numbers or others with the space before them, or of white space, the last space of which belongs
  // to what follows (train/tokenizer/bpe_tokenizer.h).
  const bool unicode = saved.contains("words");
  const std::string letter = unicode ? "\\p{L}\\p{M}" : "A-Za-z\\x{80}-\\x{10FFFF}",
                    number = unicode ? "\\p{N}" : "0-9", space = unicode ? "\\s" : "\\t-\\r ";
  const std::string pattern =
      fmt::format(" ?[{0}]+| ?[{1}]+| ?[^{2}{0}{1}]+|[{2}]+(?= [^{2}])|[{2}]+", letter, number, space);
  const Json words{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json pre = merges.empty()
                       ? byte_level(false)
                       : Json{{"type", "Sequence"}, {"pretokenizers", Json::array({words, byte_level(false)})}};
  return whole(pre, byte_level(true), vocab, merges);
}

Json characters(const Json& saved) {
  const auto text = saved["vocabulary"].get<std::string>();
  Json vocab = Json::object();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = train::code_point_at(text, at).bytes;
    vocab[text.substr(at, bytes)] = vocab.size();
    at += bytes;
  }
  return whole(nullptr, {{"type", "Fuse"}}, vocab, Json::array());
}

}  // namespace

std::string tokenizer_json(const train::Tokenizer& tokenizer) {
  const Json saved = parse_json(tokenizer.save());
  const std::string kind = tokenizer.kind();
  if (kind == "byte" || kind == "bpe") return json_text(bytes_and_merges(saved), 2) + "\n";
  if (kind == "char") return json_text(characters(saved), 2) + "\n";
  if (kind == "hf") return saved["json"].get<std::string>();  // as it came
  throw InputError(fmt::format(
      "data.tokenizer: {} cannot be written as a tokenizer.json; allowed for export: bpe, byte, char, hf", kind));
}

}  // namespace monge::tools
