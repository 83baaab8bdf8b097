#include "train/data/grammar/grammar.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <unordered_set>

#include "support/expect_error.h"
#include "train/data/grammar/english.h"
#include "train/data/grammar/grammar_language.h"
#include "train/data/grammar/grammar_predictor.h"

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

/// Calls `found(sentence, probability)` for every derivation of a sentence with at least the given probability.
void enumerate(const Grammar& grammar, double at_least, const std::function<void(const std::string&, double)>& found) {
  std::string text;
  const std::function<void(std::vector<Grammar::Symbol>, double)> derive = [&](std::vector<Grammar::Symbol> to_come,
                                                                               double probability) {
    if (probability < at_least) return;
    const std::size_t before = text.size();
    while (!to_come.empty() && to_come.back().rule < 0) {
      text += to_come.back().character;
      to_come.pop_back();
    }
    if (to_come.empty()) {
      found(text, probability);
    } else {
      const auto rule = static_cast<std::size_t>(to_come.back().rule);
      to_come.pop_back();
      for (const Grammar::Alternative& alternative : grammar.rules()[rule].alternatives) {
        std::vector<Grammar::Symbol> next = to_come;
        next.insert(next.end(), alternative.symbols.rbegin(), alternative.symbols.rend());
        derive(std::move(next), probability * alternative.probability);
      }
    }
    text.resize(before);
  };
  derive({Grammar::Symbol{.rule = 0}}, 1.0);
}

std::string generate(const GrammarLanguage& language, std::uint32_t stream, std::size_t length) {
  RandomSequence random(11, stream);
  Tokens tokens(length);
  language.generate(random, tokens);
  return language.tokenizer().decode(tokens);
}

std::string error_in(std::string_view notation) {
  return error_of<std::invalid_argument>([&] { Grammar{notation}; });
}

TEST(Grammar, ReadsTheNotation) {
  const Grammar grammar("# a comment\n\nstart = 3 \"a b\" end | end\n      | \"\" end  \nend = \".\\n\"\n");
  ASSERT_EQ(grammar.rules().size(), 2u);
  EXPECT_EQ(grammar.rules()[0].name, "start");
  ASSERT_EQ(grammar.rules()[0].alternatives.size(), 3u);
  EXPECT_DOUBLE_EQ(grammar.rules()[0].alternatives[0].probability, 0.6);
  EXPECT_DOUBLE_EQ(grammar.rules()[0].alternatives[2].probability, 0.2);
  std::map<std::string, double> sentences;
  enumerate(grammar, 0.0, [&](const std::string& text, double p) { sentences[text] += p; });
  EXPECT_EQ(sentences.size(), 2u);
  EXPECT_DOUBLE_EQ(sentences["a b.\n"], 0.6);
  EXPECT_DOUBLE_EQ(sentences[".\n"], 0.4);
  EXPECT_EQ(grammar.characters(), "\n .ab");
}

TEST(Grammar, SaysWhatIsWrongAndWhere) {
  EXPECT_HAS(error_in("a = \"x\"\nb \"y\"\n"), "line 2: expected '='");
  EXPECT_HAS(error_in("  | \"y\"\n"), "line 1: expected a rule to go on with");
  EXPECT_HAS(error_in("a = \"x\n"), "line 1: expected a closing quote");
  EXPECT_HAS(error_in("a = \"\\t\"\n"), "line 1: expected \\n");
  EXPECT_HAS(error_in("a = \"x\"\na = \"y\"\n"), "line 2: expected each rule once");
  EXPECT_HAS(error_in("a = 0 \"x\"\n"), "line 1: expected a positive weight");
  EXPECT_HAS(error_in("a = \"x\" ?\n"), "line 1: expected a name");
  EXPECT_HAS(error_in("a = \"\xC3\xA9\"\n"), "line 1: expected ASCII");
  EXPECT_HAS(error_in("a = \"x\" b\n"), "'b' is used but has no rule");
  EXPECT_HAS(error_in("\n# nothing\n"), "no rules");
  EXPECT_HAS(error_in("a = \"\" | \"x\"\n"), "may be empty");
}

TEST(Grammar, RefusesLeftRecursionAndSentencesWithoutAMeanLength) {
  EXPECT_HAS(error_in("a = a \"x\" | \"y\"\n"), "'a' refers to itself before any text");
  EXPECT_HAS(error_in("a = b \"x\"\nb = nothing c\nc = a | \"y\"\nnothing = \"\"\n"),
             "refers to itself before any text");
  EXPECT_HAS(error_in("a = 2 \"(\" a a | \".\"\n"), "no finite mean length");
  EXPECT_HAS(error_in("a = \"(\" a a | \".\"\n"), "no finite mean length");  // critical
  EXPECT_HAS(error_in("a = \"x\" a\n"), "no finite mean length");
}

TEST(Grammar, MomentsOfAGeometricSentence) {
  const Grammar grammar("s = 3 \"ab\" s | \".\"\n");
  const double choice = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));
  EXPECT_NEAR(grammar.sentence_length(), 7.0, 1e-13);  // three times "ab" on average
  EXPECT_NEAR(grammar.sentence_entropy(), 4.0 * choice, 1e-13);
  EXPECT_NEAR(grammar.entropy_rate(), 4.0 * choice / 7.0, 1e-13);
}

TEST(Grammar, MomentsOfATreeAgreeWithEnumeration) {
  const Grammar grammar("s = \"(\" s \",\" t \")\" | 5 t\nt = 6 \"x\" | 2 \"y\" | \"[\" s \"]\"\n");
  // Truncated at a probability: what is left out shrinks as the bound does.
  double mass = 0.0, length = 0.0, entropy = 0.0;
  enumerate(grammar, 1e-10, [&](const std::string& text, double p) {
    mass += p;
    length += p * static_cast<double>(text.size());
    entropy -= p * std::log(p);
  });
  EXPECT_NEAR(mass, 1.0, 1e-4);
  EXPECT_NEAR(length, grammar.sentence_length(), 2e-3 * grammar.sentence_length());
  EXPECT_NEAR(entropy, grammar.sentence_entropy(), 2e-3 * grammar.sentence_entropy());
}

TEST(GrammarPredictor, AgreesWithBruteForceOnATinyAmbiguousGrammar) {
  const Grammar grammar("s = 2 \"ab\" t | \"abc.\" | \"a\" t | \"a\" \"\" t\nt = \"c.\" | 3 \"d\" \".\" | \".\"\n");
  std::map<std::string, double> sentences;
  enumerate(grammar, 0.0, [&](const std::string& text, double p) { sentences[text] += p; });
  // P(a text starts with `prefix`), summed over all first sentences.
  const std::function<double(const std::string&)> prefix_law = [&](const std::string& prefix) -> double {
    if (prefix.empty()) return 1.0;
    double sum = 0.0;
    for (const auto& [sentence, p] : sentences) {
      if (sentence.starts_with(prefix)) {
        sum += p;
      } else if (prefix.starts_with(sentence)) {
        sum += p * prefix_law(prefix.substr(sentence.size()));
      }
    }
    return sum;
  };

  GrammarPredictor predictor(grammar);
  int compared = 0;
  const std::function<void(const std::string&)> compare = [&](const std::string& prefix) {
    for (const char next : std::string("abcd.")) {
      const double expected = prefix_law(prefix + next) / prefix_law(prefix);
      predictor.restart();
      for (const char c : prefix) predictor.read(c);
      EXPECT_NEAR(predictor.probability(next), expected, 1e-12) << prefix << " then " << next;
      ++compared;
      if (expected > 0.0 && prefix.size() < 7) {
        EXPECT_NEAR(predictor.read(next), expected, 1e-12);
        compare(prefix + next);
      } else if (expected == 0.0) {
        EXPECT_THROW(predictor.read(next), std::invalid_argument);
      }
    }
  };
  compare("");
  EXPECT_GT(compared, 200);
}

TEST(GrammarPredictor, ReadingsOfEqualStacksAreOne) {
  const Grammar grammar("s = t | \"x\" t\nt = \"y\" s | \"xy\" s | 2 \".\"\n");
  GrammarPredictor predictor(grammar);
  for (int i = 0; i < 200; ++i) predictor.read(i % 2 == 0 ? 'x' : 'y');
  EXPECT_LE(predictor.readings(), 2u);  // of 2^100 derivations
}

/// FIRST and FOLLOW over words, as in any book on parsing.
class WordAnalysis {
 public:
  explicit WordAnalysis(const Grammar& grammar) : grammar_(grammar) {
    const std::size_t n = grammar.rules().size();
    first_.resize(n);
    follow_.resize(n);
    nullable_.resize(n);
    for (std::size_t size = 0, now = 1; now != size;) {
      size = now;
      now = 1;
      for (std::size_t i = 0; i < n; ++i) {
        for (const Grammar::Alternative& alternative : grammar.rules()[i].alternatives) {
          first_[i].merge(first(alternative.symbols, 0));
          nullable_[i] = nullable_[i] || nullable(alternative.symbols, 0);
          for (std::size_t at = 0; at < alternative.symbols.size(); ++at) {
            if (alternative.symbols[at].rule < 0) continue;
            auto& follow = follow_[static_cast<std::size_t>(alternative.symbols[at].rule)];
            follow.merge(first(alternative.symbols, at + 1));
            if (nullable(alternative.symbols, at + 1)) follow.insert(follow_[i].begin(), follow_[i].end());
          }
        }
        now += first_[i].size() + follow_[i].size() + (nullable_[i] ? 1 : 0);
      }
    }
  }

  /// The words with which symbols[at ..] can begin; a word is a maximal run of characters.
  std::set<std::string> first(const std::vector<Grammar::Symbol>& symbols, std::size_t at) const {
    std::set<std::string> words;
    for (; at < symbols.size(); ++at) {
      if (symbols[at].rule < 0) {
        std::string word;
        for (; at < symbols.size() && symbols[at].rule < 0; ++at) word += symbols[at].character;
        words.insert(word);
        return words;
      }
      const auto rule = static_cast<std::size_t>(symbols[at].rule);
      words.insert(first_[rule].begin(), first_[rule].end());
      if (!nullable_[rule]) return words;
    }
    return words;
  }
  bool nullable(const std::vector<Grammar::Symbol>& symbols, std::size_t at) const {
    for (; at < symbols.size(); ++at) {
      if (symbols[at].rule < 0 || !nullable_[static_cast<std::size_t>(symbols[at].rule)]) return false;
    }
    return true;
  }
  /// The reason why one word does not tell the alternatives of some rule apart; empty when it always does.
  std::string conflict() const {
    for (std::size_t i = 0; i < grammar_.rules().size(); ++i) {
      std::set<std::string> seen;
      bool empty_seen = false;
      for (const Grammar::Alternative& alternative : grammar_.rules()[i].alternatives) {
        std::set<std::string> words = first(alternative.symbols, 0);
        if (nullable(alternative.symbols, 0)) {
          if (empty_seen) return grammar_.rules()[i].name + " is empty in two ways";
          empty_seen = true;
          words.insert(follow_[i].begin(), follow_[i].end());
        }
        for (const std::string& word : words) {
          if (!seen.insert(word).second) return grammar_.rules()[i].name + " at '" + word + "'";
        }
      }
    }
    return {};
  }

 private:
  const Grammar& grammar_;
  std::vector<std::set<std::string>> first_, follow_;
  std::vector<bool> nullable_;
};

TEST(English, OneWordTellsTheAlternativesApart) {
  EXPECT_EQ(WordAnalysis(Grammar(english)).conflict(), "");
  // The analysis itself does find conflicts.
  EXPECT_HAS(WordAnalysis(Grammar("s = \" a\" t | u\nt = \".\"\nu = \" a\" t \",\"\n")).conflict(), "s at ' a'");
  EXPECT_HAS(WordAnalysis(Grammar("s = t \" a\"\nt = \"\" | \" a\"\n")).conflict(), "t at ' a'");
}

TEST(English, ATextSplitsIntoWordsInOneWay) {
  // Every word ends where no small letter follows, because every word begins with something else.
  const std::regex word("[A-Z][a-z]*|,? [a-z]+|[.][ \n]");
  const Grammar grammar(english);
  for (const Grammar::Rule& rule : grammar.rules()) {
    for (const Grammar::Alternative& alternative : rule.alternatives) {
      std::string run;
      for (std::size_t i = 0; i <= alternative.symbols.size(); ++i) {
        if (i < alternative.symbols.size() && alternative.symbols[i].rule < 0) {
          run += alternative.symbols[i].character;
        } else if (!run.empty()) {
          EXPECT_TRUE(std::regex_match(run, word)) << '\'' << run << '\'';
          run.clear();
        }
      }
    }
  }
}

TEST(English, NoSentenceHasTwoDerivationsAndThePredictorKnowsTheProbabilityOfEach) {
  const Grammar grammar(english);
  std::unordered_set<std::string> sentences;
  GrammarPredictor predictor(grammar);
  double mass = 0.0;
  enumerate(grammar, 1e-6, [&](const std::string& sentence, double probability) {
    EXPECT_TRUE(sentences.insert(sentence).second) << sentence;
    mass += probability;
    predictor.restart();
    double product = 1.0;
    for (const char c : sentence) product *= predictor.read(c);
    EXPECT_NEAR(product / probability, 1.0, 1e-10) << sentence;
  });
  EXPECT_GT(sentences.size(), 10000u);
  EXPECT_GT(mass, 0.1);
  EXPECT_LT(mass, 1.0);
}

TEST(English, ProbabilitiesOfTheNextCharacterSumToOne) {
  const GrammarLanguage language(english);
  const std::string characters = language.grammar().characters();
  GrammarPredictor predictor(language.grammar());
  for (const char read : generate(language, 1, 3000)) {
    double sum = 0.0;
    for (const char c : characters) sum += predictor.probability(c);
    ASSERT_NEAR(sum, 1.0, 1e-12);
    ASSERT_GT(predictor.read(read), 0.0);
  }
}

TEST(English, TheVerbAgreesWithADistantSubject) {
  const Grammar grammar(english);
  GrammarPredictor predictor(grammar);
  const auto verb_takes_s = [&](const std::string& subject) {
    predictor.restart();
    for (const char c : subject + " sing") predictor.read(c);
    return predictor.probability('s');
  };
  EXPECT_EQ(verb_takes_s("The cat that many dogs that the king fears chase"), 1.0);
  EXPECT_EQ(verb_takes_s("Many cats that the dog that two kings fear chases"), 0.0);
}

TEST(English, SentencesHaveTheExactMeanLength) {
  const GrammarLanguage language(english);
  const std::string text = generate(language, 2, 2000000);
  double count = 0.0, sum = 0.0, squares = 0.0;
  for (std::size_t begin = 0;;) {
    const std::size_t stop = text.find('.', begin);
    if (stop == std::string::npos || stop + 1 >= text.size()) break;
    const auto length = static_cast<double>(stop + 2 - begin);
    ++count;
    sum += length;
    squares += length * length;
    begin = stop + 2;
  }
  const double mean = sum / count;
  const double standard_error = std::sqrt((squares / count - mean * mean) / count);
  EXPECT_LT(standard_error, 0.01 * mean);
  EXPECT_NEAR(mean, language.grammar().sentence_length(), 4.0 * standard_error);
}

TEST(English, BestLossPerCharacterApproachesTheEntropyRate) {
  const GrammarLanguage language(english);
  constexpr int sequences = 40;
  constexpr std::size_t length = 10000;
  double sum = 0.0, squares = 0.0;
  for (int i = 0; i < sequences; ++i) {
    RandomSequence random(5, static_cast<std::uint32_t>(i));
    Tokens tokens(length);
    language.generate(random, tokens);
    const double loss = language.best_loss(tokens) / (length - 1);
    sum += loss;
    squares += loss * loss;
  }
  const double mean = sum / sequences;
  const double standard_error = std::sqrt((squares / sequences - mean * mean) / sequences);
  // The free first character and the cut sentence at the end: a few nats of 10000 characters.
  const double boundary = 10.0 / length;
  EXPECT_LT(standard_error, 0.005);
  EXPECT_NEAR(mean, *language.entropy_rate(), 4.0 * standard_error + boundary);
}

TEST(GrammarDataset, MakesFreshSentencesAndFixedValidation) {
  const auto make = [](std::uint64_t seed) {
    return datasets().make(datasets().choose("grammar"), {.context = 64, .seed = seed});
  };
  const auto one = make(5);
  const auto same = make(5);
  const auto other = make(6);
  Tokens inputs(64), targets(64), again(64), unused(64);
  one->train_sequence(32, inputs, targets);
  EXPECT_TRUE(std::equal(inputs.begin() + 1, inputs.end(), targets.begin()));
  EXPECT_HAS(std::string("TAEMS"), one->tokenizer().decode({inputs[0]}));  // The, A, Every, My, Many, Some, Two, These
  same->train_sequence(32, again, unused);
  EXPECT_EQ(inputs, again);
  for (const auto& [data, index] : {std::pair{&one, 33}, {&one, 42}, {&other, 32}}) {
    (*data)->train_sequence(static_cast<std::uint64_t>(index), again, unused);
    EXPECT_NE(inputs, again);
  }

  ASSERT_EQ(one->validation_windows(), 256);
  const GrammarLanguage language(english);
  double loss = 0.0;
  for (std::int64_t i = 0; i < 5; ++i) {
    one->validation_window(i, inputs, targets);
    other->validation_window(i, again, unused);
    EXPECT_EQ(inputs, again);
    Tokens tokens = inputs;
    tokens.push_back(targets.back());
    loss += language.best_loss(tokens);
  }
  EXPECT_NEAR(*one->validation_optimum(5), loss / (5 * 64), 1e-12);
  EXPECT_EQ(*one->entropy_rate(), language.entropy_rate());
}

}  // namespace
}  // namespace monge::train
