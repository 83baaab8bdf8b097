#include "train/data/whole_text.h"

#include <algorithm>

#include "core/error.h"

namespace monge::train {

WholeText::WholeText(std::vector<std::int32_t> tokens, const Tokenizer& tokenizer, std::int64_t context,
                     std::int64_t stride)
    : tokens_(std::move(tokens)), tokenizer_(tokenizer), context_(context), stride_(stride) {
  if (tokens_.size() < 2) {
    throw InputError(
        fmt::format("the text has {} tokens, and none but the second and later ones are predicted", tokens_.size()));
  }
  if (stride < 1 || stride > context) {
    throw InputError(fmt::format("a stride of {} tokens; allowed: 1 .. {}, the context of the model", stride, context));
  }
}

std::string WholeText::description() const {
  return fmt::format("text of {} tokens ({})", tokens_.size(), tokenizer_.kind());
}

void WholeText::train_sequence(std::uint64_t, const Row&) const {
  throw std::invalid_argument("[whole text] is for evaluation alone");
}

std::int64_t WholeText::validation_windows() const {
  const std::int64_t later = std::max<std::int64_t>(0, predicted() - context_);
  return 1 + (later + stride_ - 1) / stride_;
}

void WholeText::validation_window(std::int64_t index, const Row& out) const {
  require(index >= 0 && index < validation_windows(), "validation_window: window {} of {}", index,
          validation_windows());
  // Target i is token i + 1.
  const std::int64_t first_new = index == 0 ? 0 : context_ + (index - 1) * stride_,
                     end = std::min(predicted(), index == 0 ? context_ : first_new + stride_),
                     begin = std::max<std::int64_t>(0, end - context_);
  for (std::int64_t i = 0; i < context_; ++i) {
    const std::int64_t at = begin + i;
    const auto place = static_cast<std::size_t>(i), from = static_cast<std::size_t>(at);
    out["tokens"][place] = at < end ? tokens_[from] : 0;
    out["targets"][place] = at >= first_new && at < end ? tokens_[from + 1] : -1;
  }
}

std::int64_t WholeText::bytes() const { return std::ssize(tokenizer_.decode({tokens_.begin() + 1, tokens_.end()})); }

}  // namespace monge::train
