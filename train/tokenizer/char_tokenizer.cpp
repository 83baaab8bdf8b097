#include "train/tokenizer/char_tokenizer.h"

#include <nlohmann/json.hpp>
#include <set>

#include "core/json.h"
#include "train/tokenizer/utf8.h"

namespace monge::train {
namespace {

/// A character as people know it: 'e' (U+0065), or U+0009 where it cannot be shown.
std::string shown(char32_t character) {
  const auto code = fmt::format("U+{:04X}", static_cast<std::uint32_t>(character));
  if (character < 0x20 || (character >= 0x7F && character < 0xA0)) return code;
  std::string bytes;
  append_utf8(bytes, character);
  return fmt::format("'{}' ({})", bytes, code);
}

}  // namespace

CharTokenizer::CharTokenizer(std::u32string vocabulary) : vocabulary_(std::move(vocabulary)) {
  if (vocabulary_.empty()) throw InputError("the vocabulary of a char tokenizer is empty; give it a text");
  ascii_.fill(-1);
  for (std::size_t i = 0; i < vocabulary_.size(); ++i) {
    const char32_t character = vocabulary_[i];
    if (id(character) >= 0) {
      throw InputError(fmt::format("character {} is twice in the vocabulary of a char tokenizer", shown(character)));
    }
    (character < 128 ? ascii_[character] : others_[character]) = static_cast<std::int32_t>(i);
  }
}

std::int32_t CharTokenizer::id(char32_t character) const {
  if (character < 128) return ascii_[character];
  const auto found = others_.find(character);
  return found == others_.end() ? -1 : found->second;
}

std::vector<std::int32_t> CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    const std::int32_t token = id(character.value);
    if (token < 0) {
      throw InputError(fmt::format("character {} at byte offset {} is not among the {} characters of the tokenizer",
                                   shown(character.value), at, vocab()));
    }
    ids.push_back(token);
    at += character.bytes;
  }
  return ids;
}

std::string CharTokenizer::decode(const std::vector<std::int32_t>& ids) const {
  std::string text;
  text.reserve(ids.size());
  for (const std::int32_t token : ids) {
    if (token < 0 || token >= vocab()) {
      throw InputError(fmt::format("token id {} is outside the vocabulary; allowed: 0 .. {}", token, vocab() - 1));
    }
    append_utf8(text, vocabulary_[static_cast<std::size_t>(token)]);
  }
  return text;
}

std::string CharTokenizer::save() const {
  std::string characters;
  for (const char32_t character : vocabulary_) append_utf8(characters, character);
  return json_text({{"kind", kind()}, {"vocabulary", characters}});
}

std::unique_ptr<Tokenizer> CharTokenizer::grown(std::string_view text) const {
  std::set<char32_t> more;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    if (id(character.value) < 0) more.insert(character.value);
    at += character.bytes;
  }
  if (more.empty()) return nullptr;
  return std::make_unique<CharTokenizer>(vocabulary_ + std::u32string(more.begin(), more.end()));
}

std::unique_ptr<Tokenizer> make_char_tokenizer(const NoOptions&, std::string_view text) {
  std::array<bool, 128> ascii{};
  std::set<char32_t> characters;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    if (character.value < 128) {
      ascii[character.value] = true;
    } else {
      characters.insert(character.value);
    }
    at += character.bytes;
  }
  std::u32string vocabulary;
  for (char32_t character = 0; character < 128; ++character) {
    if (ascii[character]) vocabulary += character;
  }
  vocabulary.append(characters.begin(), characters.end());
  return std::make_unique<CharTokenizer>(std::move(vocabulary));
}

std::unique_ptr<Tokenizer> load_char_tokenizer(const NoOptions&, std::string_view json) {
  const auto saved = parse_json(json);
  if (!saved.is_object() || !saved.contains("vocabulary") || !saved["vocabulary"].is_string()) {
    throw InputError("a saved char tokenizer must hold its characters as text in \"vocabulary\"");
  }
  const auto text = saved["vocabulary"].get<std::string>();
  std::u32string vocabulary;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    vocabulary += character.value;
    at += character.bytes;
  }
  return std::make_unique<CharTokenizer>(std::move(vocabulary));
}

}  // namespace monge::train
