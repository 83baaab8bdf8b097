#include "tools/interop/tokenizer_json.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "train/tokenizer/utf8.h"

namespace monge::tools {
namespace {

/// The visible character that stands for a byte in a byte-level vocabulary (Radford et al. 2019): the byte itself where
/// it is visible in Latin-1, the others are counted up from U+0100.
std::array<std::string, 256> byte_characters() {
  std::array<std::string, 256> out;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    train::append_utf8(out[byte], visible ? byte : next++);
  }
  return out;
}

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
  for (const std::string& character : byte_characters()) tokens.push_back(character);
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
  // Runs of letters, digits or others with the space before them, or of white space, the last space of which belongs to
  // what follows (train/tokenizer/bpe_tokenizer.h).
  const Json words{{"type", "Split"},
                   {"pattern",
                    {{"Regex",
                      " ?[A-Za-z\\x{80}-\\x{10FFFF}]+| ?[0-9]+| ?[^\\t-\\r A-Za-z0-9\\x{80}-\\x{10FFFF}]+"
                      "|[\\t-\\r ]+(?= [^\\t-\\r ])|[\\t-\\r ]+"}}},
                   {"behavior", "Isolated"},
                   {"invert", false}};
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
  throw InputError(fmt::format(
      "data.tokenizer: {} cannot be written as a tokenizer.json; allowed for export: bpe, byte, char", kind));
}

}  // namespace monge::tools
