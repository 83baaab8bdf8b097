// The dataset `attention_teacher`: inputs of normal numbers, and what one attention layer of random weights, the
// teacher, makes of them. It attends in both directions; all its parameters, biases too, are uniform in +-range. A
// model of the same shape can be the teacher: the best loss is 0. With range 1 the teacher's attention is nearly an
// argmax, because its scores have a standard deviation of about C / 3.
//
// The task of cybertronai/caffeine (github.com, 2026), with other random numbers.
#pragma once

#include <cstdint>
#include <memory>

#include "train/data/dataset.h"

namespace monge::train {

struct AttentionTeacherOptions : Options {
  std::int64_t heads = 1;
  double range = 1.0;
  std::int64_t sequences = 8192;
  std::int64_t validation_windows = 2048;
  std::int64_t teacher_seed = 1;

  void fields(Fields& f) override;
};

/// Lengths and widths are those of the model. Throws InputError for a model that reads no vectors.
std::unique_ptr<Dataset> make_attention_teacher_dataset(const AttentionTeacherOptions& options,
                                                        const DatasetContext& context);

}  // namespace monge::train
