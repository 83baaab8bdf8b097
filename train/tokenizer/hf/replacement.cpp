#include "train/tokenizer/hf/replacement.h"

namespace monge::train::hf {

Pattern make_pattern(const JsonPlace& place) {
  place.only({"String", "Regex"});
  if (place.object().size() != 1) place.refuse("must be {\"String\": \"...\"} or {\"Regex\": \"...\"}");
  if (const auto text = place.find("String")) return {Pattern::escaped(text->text()), text->name()};
  const JsonPlace regex = place.at("Regex");
  return {regex.text(), regex.name()};
}

Replacement::Replacement(const JsonPlace& place)
    : pattern_(make_pattern(place.at("pattern"))), content_(place.at("content").text()) {
  place.only({"type", "pattern", "content"});
  if (const auto text = place.at("pattern").find("String")) literal_ = text->text();
}

std::string Replacement::operator()(std::string text) const {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  if (!literal_.empty()) {
    std::size_t done = 0;
    for (std::size_t at; (at = text.find(literal_, done)) != std::string::npos; done = at + literal_.size()) {
      out.append(text, done, at - done);
      out += content_;
    }
    return out.append(text, done);
  }
  pattern_.split(text, [&](std::size_t begin, std::size_t end, bool matches) {
    if (matches) {
      out += content_;
    } else {
      out.append(text, begin, end - begin);
    }
  });
  return out;
}

}  // namespace monge::train::hf
