#include "train/data/dataset.h"

#include "train/data/grammar_language.h"
#include "train/data/hidden_markov.h"
#include "train/data/in_context_markov.h"
#include "train/data/markov.h"
#include "train/data/modular_addition.h"
#include "train/data/random.h"
#include "train/data/recall.h"
#include "train/data/text_dataset.h"
#include "train/data/zipf.h"

namespace monge::train {

Registry<Dataset, DatasetContext>& datasets() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Dataset, DatasetContext>("dataset");
    r->add<TextOptions>("text", "text files, tokenized once", make_text_dataset);
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
    return r;
  }());
  return registry;
}

}  // namespace monge::train
