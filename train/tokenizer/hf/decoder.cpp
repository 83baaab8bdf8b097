#include "train/tokenizer/hf/decoder.h"

#include <algorithm>

#include "core/error.h"
#include "train/tokenizer/hf/byte_characters.h"
#include "train/tokenizer/hf/replacement.h"
#include "train/tokenizer/utf8.h"

namespace monge::train::hf {
namespace {

template <class Function>
class Plain : public Decoder {
 public:
  explicit Plain(Function function) : function_(std::move(function)) {}
  void apply(std::vector<std::string>& tokens) const override { function_(tokens); }

 private:
  Function function_;
};

template <class Function>
std::unique_ptr<const Decoder> plain(Function function) {
  return std::make_unique<Plain<Function>>(std::move(function));
}

template <class Change>
std::unique_ptr<const Decoder> each(Change change) {
  return plain([change](std::vector<std::string>& tokens) {
    for (std::string& token : tokens) token = change(std::move(token));
  });
}

void fuse(std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, std::move(all));
}

/// "<0x0A>" is the byte 10.
std::string byte_or_token(std::string token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return token;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const auto digit = std::string_view("0123456789abcdef").find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
    if (digit == std::string_view::npos) return token;
    value = value * 16 + static_cast<int>(digit);
  }
  return {static_cast<char>(value)};
}

std::string without(std::string token, std::string_view what, std::size_t at_start, std::size_t at_end) {
  std::string_view rest = token;
  for (std::size_t i = 0; i < at_start && rest.starts_with(what); ++i) rest.remove_prefix(what.size());
  for (std::size_t i = 0; i < at_end && rest.ends_with(what); ++i) rest.remove_suffix(what.size());
  return std::string(rest);
}

std::string one_character(const JsonPlace& place) {
  const std::string& text = place.text();
  if (text.empty() || code_point_at(text, 0).bytes != text.size()) place.refuse("must be one character");
  return text;
}

std::unique_ptr<const Decoder> metaspace(const JsonPlace& place) {
  place.only({"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  const std::string mark = one_character(place.at("replacement"));
  const auto scheme = place.find("prepend_scheme");
  const bool prepended = scheme ? scheme->text() != "never" : place.flag("add_prefix_space", true);
  return plain([=](std::vector<std::string>& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::string_view space = i == 0 && prepended ? "" : " ";
      for (std::size_t at = 0; (at = tokens[i].find(mark, at)) != std::string::npos; at += space.size()) {
        tokens[i].replace(at, mark.size(), space);
      }
    }
  });
}

std::unique_ptr<const Decoder> sequence(const JsonPlace& steps) {
  std::vector<std::shared_ptr<const Decoder>> all;
  for (std::size_t i = 0; i < steps.list().size(); ++i) all.push_back(make_decoder(steps.at(i)));
  return plain([all](std::vector<std::string>& tokens) {
    for (const auto& step : all) step->apply(tokens);
  });
}

}  // namespace

std::unique_ptr<const Decoder> make_decoder(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  if (type == "ByteLevel") {
    place.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return each([](std::string token) {
      auto bytes = bytes_of(token);
      return bytes ? std::move(*bytes) : std::move(token);
    });
  }
  if (type == "ByteFallback") {
    place.only({"type"});
    return each(byte_or_token);
  }
  if (type == "Fuse") {
    place.only({"type"});
    return plain(fuse);
  }
  if (type == "Replace") {
    return each([replacement = Replacement(place)](std::string token) {
      return is_utf8(token) ? replacement(std::move(token)) : token;
    });
  }
  if (type == "Strip") {
    place.only({"type", "content", "start", "stop"});
    constexpr std::size_t most = 1'000'000;
    return each([what = one_character(place.at("content")), start = place.at("start").number(most),
                 stop = place.at("stop").number(most)](std::string token) {
      return without(std::move(token), what, start, stop);
    });
  }
  if (type == "Metaspace") return metaspace(place);
  if (type == "Sequence") {
    place.only({"type", "decoders"});
    return sequence(place.at("decoders"));
  }
  place.refuse(
      fmt::format("the decoder '{}' is not supported; allowed: ByteLevel, ByteFallback, Fuse, Replace, Strip, "
                  "Metaspace, Sequence",
                  type));
}

}  // namespace monge::train::hf
