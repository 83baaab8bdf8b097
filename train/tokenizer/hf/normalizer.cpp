#include "train/tokenizer/hf/normalizer.h"

#include <vector>

#include "core/error.h"
#include "train/tokenizer/hf/replacement.h"
#include "train/tokenizer/unicode/normal_form.h"
#include "train/tokenizer/utf8.h"

namespace monge::train::hf {
namespace {

/// A normalizer without a state of its own.
template <class Function>
class Plain : public Normalizer {
 public:
  explicit Plain(Function function) : function_(std::move(function)) {}
  std::string apply(std::string text) const override { return function_(std::move(text)); }

 private:
  Function function_;
};

template <class Function>
std::unique_ptr<const Normalizer> plain(Function function) {
  return std::make_unique<Plain<Function>>(std::move(function));
}

std::string stripped(std::string_view text, bool left, bool right) {
  const auto space_at = [&](std::size_t at) { return is_white_space(code_point_at(text, at).value); };
  std::size_t begin = 0, end = text.size();
  while (left && begin < end && space_at(begin)) begin += code_point_at(text, begin).bytes;
  while (right && end > begin) {
    const std::size_t last = last_code_point(text.substr(0, end));
    if (!space_at(last)) break;
    end = last;
  }
  return std::string(text.substr(begin, end - begin));
}

std::unique_ptr<const Normalizer> sequence(const JsonPlace& steps) {
  std::vector<std::shared_ptr<const Normalizer>> all;
  for (std::size_t i = 0; i < steps.list().size(); ++i) all.push_back(make_normalizer(steps.at(i)));
  return plain([all](std::string text) {
    for (const auto& step : all) text = step->apply(std::move(text));
    return text;
  });
}

}  // namespace

std::unique_ptr<const Normalizer> make_normalizer(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  const auto form = [&](NormalForm which) {
    place.only({"type"});
    return plain([which](std::string text) { return normalized(text, which); });
  };
  if (type == "NFC") return form(NormalForm::nfc);
  if (type == "NFD") return form(NormalForm::nfd);
  if (type == "NFKC") return form(NormalForm::nfkc);
  if (type == "NFKD") return form(NormalForm::nfkd);
  if (type == "Lowercase") {
    place.only({"type"});
    return plain([](std::string text) { return in_small_letters(text); });
  }
  if (type == "Strip") {
    place.only({"type", "strip_left", "strip_right"});
    const bool left = place.at("strip_left").flag(), right = place.at("strip_right").flag();
    return plain([=](std::string text) { return stripped(text, left, right); });
  }
  if (type == "Prepend") {
    place.only({"type", "prepend"});
    return plain(
        [prefix = place.at("prepend").text()](std::string text) { return text.empty() ? text : prefix + text; });
  }
  if (type == "Replace") return plain(Replacement(place));
  if (type == "Sequence") {
    place.only({"type", "normalizers"});
    return sequence(place.at("normalizers"));
  }
  place.refuse(
      fmt::format("the normalizer '{}' is not supported; allowed: NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, "
                  "Replace, Sequence",
                  type));
}

}  // namespace monge::train::hf
