#include "train/data/dataset.h"

#include "train/data/grammar_language.h"
#include "train/data/markov.h"
#include "train/data/random.h"
#include "train/data/text_dataset.h"

namespace monge::train {

Registry<Dataset, DatasetContext>& datasets() {
  struct BuiltIn : Registry<Dataset, DatasetContext> {
    BuiltIn() : Registry("dataset") {
      add<TextOptions>("text", "text files, tokenized once", make_text_dataset);
      add<MarkovOptions>("markov", "random Markov chains, with their exact entropy", make_markov_dataset);
      add<RandomOptions>("random", "independent equally likely tokens, for measurements", make_random_dataset);
      add<GrammarOptions>("grammar", "English-like sentences of a grammar, with their exact entropy",
                          make_grammar_dataset);
    }
  };
  static BuiltIn registry;
  return registry;
}

}  // namespace monge::train
