#include "train/data/dataset.h"

#include <algorithm>

#include "train/batches.h"
#include "train/checkpoint/checksum.h"
#include "train/data/grammar/grammar_language.h"
#include "train/data/made_up/attention_teacher.h"
#include "train/data/made_up/hidden_markov.h"
#include "train/data/made_up/in_context_markov.h"
#include "train/data/made_up/markov.h"
#include "train/data/made_up/modular_addition.h"
#include "train/data/made_up/random.h"
#include "train/data/made_up/recall.h"
#include "train/data/made_up/transduction.h"
#include "train/data/made_up/zipf.h"
#include "train/data/pair_dataset.h"
#include "train/data/tensor_dataset.h"
#include "train/data/text_dataset.h"

namespace monge::train {

std::uint64_t Dataset::content(const std::vector<nn::BatchField>& fields) const {
  constexpr std::int64_t most = 64;
  const std::int64_t windows = std::min(most, validation_windows());
  const HostBatch validation =
      make_batch(fields, windows, [this](std::int64_t row, const Row& out) { validation_window(row, out); });
  const HostBatch training = training_batch(*this, fields, 0, most);
  std::string sums = fmt::format("{}\n", validation_windows());
  for (const HostBatch* batch : {&validation, &training}) {
    const auto add = [&sums](const auto& named) {
      const auto& [name, values] = named;
      const std::span bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
      sums += fmt::format("{} {}\n", name, checksum_text(checksum(bytes)));
    };
    std::ranges::for_each(*batch, add);
    std::ranges::for_each(batch->reals, add);
  }
  return checksum(sums);
}

Registry<Dataset, DatasetContext>& datasets() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Dataset, DatasetContext>("dataset");
    r->add<TextOptions>("text", "text files, tokenized once", make_text_dataset);
    r->add<PairOptions>("pairs", "files of sources and targets", make_pair_dataset);
    r->add<MarkovOptions>("markov", "random Markov chains, with their exact entropy", make_markov_dataset);
    r->add<RandomOptions>("random", "independent equally likely tokens, for measurements", make_random_dataset);
    r->add<GrammarOptions>("grammar", "English-like sentences of a grammar, with their exact entropy",
                           make_grammar_dataset);
    r->add<InContextMarkovOptions>("in_context_markov",
                                   "a fresh Markov chain in every sequence, with the best prediction",
                                   make_in_context_markov_dataset);
    r->add<Mess3Options>("mess3", "a hidden Markov chain of three states, with the best prediction",
                         make_mess3_dataset);
    r->add<ZipfOptions>("zipf", "frequent and rare tokens with partners, with their exact entropy", make_zipf_dataset);
    r->add<RecallOptions>("recall", "associative recall: keys and values, then questions", make_recall_dataset);
    r->add<ModularAdditionOptions>("modular_addition", "sums modulo p, some learned from and the others asked",
                                   make_modular_addition_dataset);
    r->add<TransductionOptions>("transduction", "words to rewrite by a rule: a source and its one right target",
                                make_transduction_dataset);
    r->add<AttentionTeacherOptions>("attention_teacher",
                                    "vectors, and what an attention layer of random weights makes of them",
                                    make_attention_teacher_dataset);
    r->add<TensorOptions>("tensors", "vectors to learn vectors from, from a safetensors file", make_tensor_dataset);
    return r;
  }());
  return registry;
}

}  // namespace monge::train
