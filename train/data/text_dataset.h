// The dataset `text`: text files, tokenized once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace monge::train {

struct TextOptions : Options {
  std::vector<std::string> path;
  Choice tokenizer = tokenizers().choose("char");
  double validation_fraction = 0.1;
  std::string cache;

  void fields(Fields& f) override;
};

/// The files one after the other, as one text; its last tokens are the validation data. Training sequences are windows
/// at random places, drawn with replacement. The tokens are kept in the cache folder under a name made of the content
/// of the files and the tokenizer, so a changed text is never mistaken for the old one; where that folder cannot be
/// written, one line on stderr says so and the tokens stay in memory. Throws InputError for a file that is missing,
/// empty, a folder or unreadable, and for a text too short for one sequence of either part.
std::unique_ptr<Dataset> make_text_dataset(const TextOptions& options, const DatasetContext& context);

}  // namespace monge::train
