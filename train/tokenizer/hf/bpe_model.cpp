#include "train/tokenizer/hf/bpe_model.h"

#include <algorithm>

#include "core/error.h"
#include "train/tokenizer/hf/byte_characters.h"
#include "train/tokenizer/utf8.h"

namespace monge::train::hf {
namespace {

constexpr std::size_t largest_id = (1 << 24) - 1;
constexpr int neighbour_bits = 20;

std::size_t neighbour_slot(char32_t left, char32_t right) {
  const std::uint64_t pair = static_cast<std::uint64_t>(left) << 21 | right;
  return pair * 0x9E3779B97F4A7C15u >> (64 - neighbour_bits);
}

void refuse_unless_empty(const JsonPlace& place, std::string_view key) {
  const auto found = place.find(key);
  if (found && !found->text().empty()) found->refuse("is not supported; allowed: null");
}

}  // namespace

BpeModel::BpeModel(const JsonPlace& place, bool bytes) : bytes_(bytes) {
  const auto type = place.find("type");
  if (type && type->text() != "BPE") {
    type->refuse(fmt::format("the model '{}' is not supported; allowed: BPE", type->text()));
  }
  place.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
              "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (const auto dropout = place.find("dropout"); dropout && dropout->value() != 0.0) {
    dropout->refuse("is not supported; allowed: null");
  }
  refuse_unless_empty(place, "continuing_subword_prefix");
  refuse_unless_empty(place, "end_of_word_suffix");
  byte_fallback_ = place.flag("byte_fallback", false);
  fuse_unknown_ = place.flag("fuse_unk", false);
  ignore_merges_ = place.flag("ignore_merges", false);

  read_vocabulary(place.at("vocab"));
  read_merges(place.at("merges"));
  if (const auto unknown = place.find("unk_token")) {
    unknown_ = id(unknown->text());
    if (unknown_ < 0) unknown->refuse(fmt::format("'{}' is not in model.vocab", unknown->text()));
  }
}

void BpeModel::read_vocabulary(const JsonPlace& vocab) {
  character_ids_.assign(0x110000, -1);
  for (const auto& [token, value] : vocab.object().items()) {
    const auto id = static_cast<std::int32_t>(vocab.at(token).number(largest_id));
    const auto at = static_cast<std::size_t>(id);
    if (token.empty()) vocab.refuse("one token is empty");
    if (at >= tokens_.size()) tokens_.resize(at + 1);
    if (!tokens_[at].empty()) {
      vocab.refuse(fmt::format("the tokens '{}' and '{}' have the same id {}", tokens_[at], token, id));
    }
    tokens_[at] = token;
    ids_.emplace(token, id);
    if (bytes_) {
      if (const auto piece = bytes_of(token)) whole_.emplace(*piece, id);
    } else if (const CodePoint first = code_point_at(token, 0); first.bytes == token.size()) {
      character_ids_[first.value] = id;
    }
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = id(bytes_ ? byte_character(static_cast<unsigned char>(byte)) : fmt::format("<0x{:02X}>", byte));
  }
}

void BpeModel::read_merges(const JsonPlace& merges) {
  neighbours_.assign(std::size_t{1} << neighbour_bits, false);
  for (std::size_t i = 0; i < merges.list().size(); ++i) {
    const auto refuse = [&](const std::string& problem) { merges.at(i).refuse(problem); };
    const nlohmann::json& merge = merges.value()[i];
    std::string left, right;
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        refuse(fmt::format("'{}' must be two tokens with one space between", text));
      }
      left = text.substr(0, space), right = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
    } else {
      refuse("must be two tokens: \"a b\" or [\"a\", \"b\"]");
    }
    const std::int32_t a = id(left), b = id(right), made = id(left + right);
    if (a < 0 || b < 0) refuse(fmt::format("'{}' is not in model.vocab", a < 0 ? left : right));
    if (made < 0)
      refuse(fmt::format("'{}' and '{}' make '{}', which is not in model.vocab", left, right, left + right));
    if (!merges_.add(a, b, made)) refuse(fmt::format("'{}' and '{}' are merged by an earlier line", left, right));
    note_neighbours(left + right);
  }
}

void BpeModel::note_neighbours(std::string_view token) {
  char32_t before = 0;
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint character = code_point_at(token, at);
    if (at > 0) neighbours_[neighbour_slot(before, character.value)] = true;
    before = character.value;
    at += character.bytes;
  }
}

std::int32_t BpeModel::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

std::int32_t BpeModel::id_of_character(char32_t character) const {
  return character_ids_[static_cast<std::size_t>(character)];
}

bool BpeModel::may_merge(char32_t left, char32_t right) const {
  return id_of_character(left) < 0 || id_of_character(right) < 0 || neighbours_[neighbour_slot(left, right)];
}

void BpeModel::encode(std::string_view piece, WordMemory& memory, std::vector<std::int32_t>& ids) const {
  const auto append = [&](std::string_view word) {
    memory.append(word, ids,
                  [this](std::string_view fresh, std::vector<std::int32_t>& out) { encode_word(fresh, out); });
  };
  if (bytes_ || ignore_merges_) {
    append(piece);
    return;
  }
  // A piece may be a whole text here. No merge reaches across two characters that stand side by side in no token, so
  // the piece is cut there, and the words of a text come again and again.
  std::size_t begin = 0;
  char32_t before = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint character = code_point_at(piece, at);
    if (at > 0 && !may_merge(before, character.value)) {
      append(piece.substr(begin, at - begin));
      begin = at;
    }
    before = character.value;
    at += character.bytes;
  }
  append(piece.substr(begin));
}

void BpeModel::encode_word(std::string_view word, std::vector<std::int32_t>& tokens) const {
  if (ignore_merges_) {
    const auto& pieces = bytes_ ? whole_ : ids_;
    if (const auto found = pieces.find(word); found != pieces.end()) {
      tokens.push_back(found->second);
      return;
    }
  }
  bool pending = false;  // an unknown character that has not been written yet
  const auto known = [&](std::int32_t id) {
    if (pending) tokens.push_back(unknown_);
    pending = false;
    tokens.push_back(id);
  };
  const auto unknown = [&](std::string_view character) {
    if (byte_fallback_) {
      const auto id_of = [&](char byte) {
        return bytes_ ? id(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)))
                      : byte_ids_[static_cast<unsigned char>(byte)];
      };
      if (std::ranges::all_of(character, [&](char byte) { return id_of(byte) >= 0; })) {
        for (const char byte : character) tokens.push_back(id_of(byte));
        return;  // an unknown character before it stays pending, as in `tokenizers`
      }
    }
    if (unknown_ < 0) return;
    if (pending && !fuse_unknown_) tokens.push_back(unknown_);
    pending = true;
  };
  if (bytes_) {
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte_ids_[byte] >= 0) {
        known(byte_ids_[byte]);
      } else {
        unknown(byte_character(byte));
      }
    }
  } else {
    for (std::size_t at = 0; at < word.size();) {
      const CodePoint character = code_point_at(word, at);
      if (const std::int32_t found = id_of_character(character.value); found >= 0) {
        known(found);
      } else {
        unknown(word.substr(at, character.bytes));
      }
      at += character.bytes;
    }
  }
  if (pending) tokens.push_back(unknown_);
  merges_.apply(tokens);
}

}  // namespace monge::train::hf
