#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "core/options/format.h"
#include "core/options/suggest.h"
#include "core/options_schema.h"

namespace monge::test {
namespace {

constexpr std::string_view minimal = "data: {kind: text, path: a.txt}\n";

template <class T>
const T& options_of(const Choice& choice) {
  return dynamic_cast<const T&>(*choice.options);
}

TEST(Read, KeysThatAreNotGivenKeepTheirDefaults) {
  const SchemaOptions o = read(minimal);
  EXPECT_EQ(o.data.dataset.kind, "text");
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).path, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(o.model.width, 128);
  EXPECT_EQ(o.model.mlp.kind, "gelu");
  EXPECT_EQ(o.run.betas, (std::vector<double>{0.9, 0.95}));
}

TEST(Read, EverySortOfKey) {
  const SchemaOptions o = read(R"(
data:
  fraction: 0.25   # belongs to the kind that the next line names
  kind: text
  path: [a.txt, 'b c.txt']
  workers: 2
model:
  width: 1e2
  heads: 5
  dropout: .5
  bias: true
  mlp: {kind: swiglu, multiple: 4}
run:
  precision: bfloat16
  prompt: "Once\nupon"
  seed: 9007199254740993
  lr: +3e-4
  betas: [0, 0.5, 0.9]
  tags: one
  groups:
    - {match: "*.norm.*", lr_scale: 0}
    - mlp: gelu
)");
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).path, (std::vector<std::string>{"a.txt", "b c.txt"}));
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).fraction, 0.25);
  EXPECT_EQ(o.data.workers, 2);
  EXPECT_EQ(o.model.width, 100);
  EXPECT_EQ(o.model.heads, 5);
  EXPECT_EQ(o.model.dropout, 0.5);
  EXPECT_TRUE(o.model.bias);
  EXPECT_EQ(options_of<SwigluOptions>(o.model.mlp).multiple, 4);
  EXPECT_EQ(options_of<SwigluOptions>(o.model.mlp).ratio, 2.5);
  EXPECT_EQ(o.run.precision, "bfloat16");
  EXPECT_EQ(o.run.prompt, "Once\nupon");
  EXPECT_EQ(o.run.seed, 9007199254740993);  // 2^53 + 1: does not pass through a double
  EXPECT_EQ(o.run.lr, 3e-4);
  EXPECT_EQ(o.run.betas, (std::vector<double>{0.0, 0.5, 0.9}));
  EXPECT_EQ(o.run.tags, std::vector<std::string>{"one"});
  ASSERT_EQ(o.run.groups.size(), 2u);
  EXPECT_EQ(o.run.groups[0].match, "*.norm.*");
  EXPECT_EQ(o.run.groups[0].lr_scale, 0.0);
  EXPECT_EQ(o.run.groups[1].mlp.kind, "gelu");
}

TEST(Read, ChoiceByNameAloneTakesThatKindsDefaults) {
  const SchemaOptions o = read(std::string(minimal) + "model: {mlp: swiglu}\n");
  EXPECT_EQ(options_of<SwigluOptions>(o.model.mlp).ratio, 2.5);
}

TEST(Read, ChoiceOfTheKindHeldKeepsWhatTheStructHolds) {
  for (const std::string mlp : {"gelu", "{kind: gelu}", "{}"}) {
    SchemaOptions o;
    dynamic_cast<GeluOptions&>(*o.model.mlp.options).ratio = 7.0;
    read_yaml_text(std::string(minimal) + "model: {mlp: " + mlp + "}\n", "run.yaml", {}, o);
    EXPECT_EQ(options_of<GeluOptions>(o.model.mlp).ratio, 7.0) << mlp;
  }
}

TEST(Read, NewListReplacesTheElementsHeld) {
  SchemaOptions o;
  o.run.groups.resize(2);
  o.run.groups[0].lr_scale = 7.0;
  read_yaml_text(std::string(minimal) + "run: {groups: [{match: a}]}\n", "run.yaml", {}, o);
  ASSERT_EQ(o.run.groups.size(), 1u);
  EXPECT_EQ(o.run.groups[0].lr_scale, 1.0);
}

TEST(Read, SectionWithAllKeysCommentedOutKeepsItsDefaults) {
  EXPECT_EQ(read(std::string(minimal) + "model:\n  # width: 5\nrun:\n").model.width, 128);
}

TEST(Read, AnchorsAndAliases) {
  const SchemaOptions o = read(R"(
data: {kind: text, path: &name a.txt}
run: {prompt: *name, groups: [&g {lr_scale: 3}, *g]}
)");
  EXPECT_EQ(o.run.prompt, "a.txt");
  ASSERT_EQ(o.run.groups.size(), 2u);
  EXPECT_EQ(o.run.groups[1].lr_scale, 3.0);
}

TEST(Read, MergedMapsGiveWhatIsNotThere) {
  const SchemaOptions schema = read(
      "data: {kind: text, path: a}\n"
      "model: {width: 8, <<: {width: 4, heads: 2}}\n"
      "run: {groups: [{mlp: &swi {kind: swiglu, multiple: 3}}, {mlp: {<<: *swi, multiple: 5}}, {mlp: {<<: "
      "[*swi]}}]}\n");
  EXPECT_EQ(schema.model.width, 8);
  EXPECT_EQ(schema.model.heads, 2);
  for (const auto& [group, multiple] : {std::pair{0, 3}, {1, 5}, {2, 3}}) {
    const auto& mlp = schema.run.groups.at(static_cast<std::size_t>(group)).mlp;
    EXPECT_EQ(mlp.kind, "swiglu");
    EXPECT_EQ(dynamic_cast<const SwigluOptions&>(*mlp.options).multiple, multiple) << group;
  }
}

TEST(Read, TextTakesScalarsThatLookLikeOtherTypes) {
  const SchemaOptions o = read("data: {kind: text, path: [2024, true, 'null']}\n");
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).path, (std::vector<std::string>{"2024", "true", "null"}));
}

TEST(Read, FromAFile) {
  const auto path = std::filesystem::temp_directory_path() / "monge_options_test.yaml";
  std::ofstream(path) << minimal;
  SchemaOptions o;
  read_yaml_file(path.string(), {"model.width=64"}, o);
  EXPECT_EQ(o.model.width, 64);
  std::filesystem::remove(path);
}

TEST(Override, ReachesKeysWithAndWithoutTheirSectionInTheFile) {
  const SchemaOptions o = read("data: {kind: text, path: a.txt, fraction: 0.3}\n",
                               {"model.width=64", "data.path=b.txt", "run.betas=[0.1, 0.2]", "run.lr= 1e-2 "});
  EXPECT_EQ(o.model.width, 64);
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).path, std::vector<std::string>{"b.txt"});
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).fraction, 0.3);
  EXPECT_EQ(o.run.betas, (std::vector<double>{0.1, 0.2}));
  EXPECT_EQ(o.run.lr, 1e-2);
}

TEST(Override, SatisfiesARequiredKeyThatTheFileLacks) {
  const SchemaOptions o = read("model: {width: 64}\n", {"data.path=b.txt", "data.kind=text"});
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).path, std::vector<std::string>{"b.txt"});
  EXPECT_EQ(options_of<TextOptions>(read("data: {path: c.txt}", {"data.kind=text"}).data.dataset).path,
            std::vector<std::string>{"c.txt"});
}

TEST(Override, TextIsTakenLiterally) {
  EXPECT_EQ(read(minimal, {"run.prompt=To be: or # not = to be"}).run.prompt, "To be: or # not = to be");
  EXPECT_EQ(read(minimal, {"run.prompt=*.txt"}).run.prompt, "*.txt");
  EXPECT_EQ(read(minimal, {"run.prompt=''"}).run.prompt, "");
  EXPECT_EQ(read(minimal, {"run.prompt=\"a\\nb\""}).run.prompt, "a\nb");
}

TEST(Override, LastOfTheSameKeyWins) {
  EXPECT_EQ(read(minimal, {"model.width=64", "model.width=256"}).model.width, 256);
}

TEST(Override, LongerPathGoesOnTopInAnyOrder) {
  for (const std::vector<std::string>& overrides :
       {std::vector<std::string>{"model={width: 64, heads: 2}", "model.width=32"},
        std::vector<std::string>{"model.width=32", "model={width: 64, heads: 2}"}}) {
    const SchemaOptions o = read("data: {kind: text, path: a}\nmodel: {dropout: 0.5}\n", overrides);
    EXPECT_EQ(o.model.width, 32);
    EXPECT_EQ(o.model.heads, 2);
    EXPECT_EQ(o.model.dropout, 0.5);  // a map adds to what the file says
  }
}

TEST(Override, AnotherKindLeavesTheOldKindsKeysBehind) {
  const std::string file = std::string(minimal) + "model: {mlp: {kind: gelu, ratio: 9}}\n";
  for (const std::string select : {"model.mlp.kind=swiglu", "model.mlp=swiglu", "model.mlp={kind: swiglu}"}) {
    const SchemaOptions alone = read(file, {select});
    EXPECT_EQ(options_of<SwigluOptions>(alone.model.mlp).ratio, 2.5) << select;
    for (const auto& overrides : {std::vector<std::string>{select, "model.mlp.multiple=16"},
                                  std::vector<std::string>{"model.mlp.multiple=16", select}}) {
      EXPECT_EQ(options_of<SwigluOptions>(read(file, overrides).model.mlp).multiple, 16) << select;
    }
  }
}

TEST(Override, KeysThatTheFileGaveToTheDefaultKindStayBehindToo) {
  const SchemaOptions o = read(std::string(minimal) + "model: {mlp: {ratio: 9}}\n", {"model.mlp=swiglu"});
  EXPECT_EQ(options_of<SwigluOptions>(o.model.mlp).ratio, 2.5);
}

TEST(Override, TheSameKindKeepsTheFilesKeys) {
  const std::string file = std::string(minimal) + "model: {mlp: {kind: swiglu, ratio: 9}}\n";
  EXPECT_EQ(options_of<SwigluOptions>(read(file, {"model.mlp=swiglu"}).model.mlp).ratio, 9.0);
  EXPECT_EQ(options_of<SwigluOptions>(read(file, {"model.mlp.multiple=2"}).model.mlp).ratio, 9.0);
}

TEST(Override, AnotherKindOfAnInlineChoiceKeepsTheSectionsOwnKeys) {
  const std::string file = "data: {kind: text, path: a.txt, fraction: 0.3, workers: 3}\n";
  for (const auto& overrides : {std::vector<std::string>{"data.kind=chain", "data.order=5"},
                                std::vector<std::string>{"data.order=5", "data.kind=chain"}}) {
    const SchemaOptions o = read(file, overrides);
    EXPECT_EQ(options_of<ChainOptions>(o.data.dataset).order, 5);
    EXPECT_EQ(options_of<ChainOptions>(o.data.dataset).fraction, 0.2);  // the file's 0.3 was said to `text`
    EXPECT_EQ(o.data.workers, 3);
  }
}

TEST(Override, ReplacedKindNeedsNoRequiredKeys) {
  EXPECT_EQ(read("data: {kind: text}", {"data.kind=chain"}).data.dataset.kind, "chain");
}

TEST(Override, ElementsOfLists) {
  const std::string file = std::string(minimal) + "run: {groups: [{match: a}, {match: b, lr_scale: 3}]}\n";
  const SchemaOptions o =
      read(file, {"run.groups.1.match=c", "run.groups.0.mlp=swiglu", "run.betas.1=0.99", "data.path.0=x"});
  EXPECT_EQ(o.run.groups[1].match, "c");
  EXPECT_EQ(o.run.groups[1].lr_scale, 3.0);
  EXPECT_EQ(o.run.groups[0].mlp.kind, "swiglu");
  EXPECT_EQ(o.run.betas, (std::vector<double>{0.9, 0.99}));  // also where the file is silent
  EXPECT_EQ(options_of<TextOptions>(o.data.dataset).path, std::vector<std::string>{"x"});
  EXPECT_EQ(read(file, {"run.groups=[{lr_scale: 2}]", "run.groups.0.match=d"}).run.groups.size(), 1u);
}

TEST(Write, EmptyAndDefaultOptions) {
  SchemaOptions o = read(minimal);
  EXPECT_EQ(write_yaml(o), R"(data:
  kind: text
  path: [a.txt]
  fraction: 0.1
  workers: 1
model:
  width: 128  # elements
  heads: 4
  dropout: 0.0  # probability
  bias: false
  mlp:
    kind: gelu
    ratio: 4.0  # x width
run:
  precision: float32
  prompt: ""
  seed: 1337
  lr: 0.001
  betas: [0.9, 0.95]
  tags: []
  groups: []
)");
}

TEST(Write, ReadsBackToTheSameOptions) {
  SchemaOptions o = read(R"(
data: {kind: chain, order: 0, workers: 7}
model: {mlp: none, bias: true, dropout: 0.1}
run:
  lr: 1e-300
  betas: []
  tags: [x, "yes", "- a", "a: b", " ", "#", "'", "\"", "\\"]
  groups: [{}, {match: "*.norm.*", mlp: {kind: gelu, ratio: 0.1}}]
)");
  const std::string text = write_yaml(o);
  SchemaOptions again = read(text);
  EXPECT_EQ(write_yaml(again), text);
  EXPECT_EQ(again.run.lr, 1e-300);
  EXPECT_EQ(again.run.tags, o.run.tags);
  EXPECT_EQ(again.run.groups[1].match, "*.norm.*");
  EXPECT_EQ(options_of<GeluOptions>(again.run.groups[1].mlp).ratio, 0.1);
  EXPECT_EQ(again.model.mlp.kind, "none");
}

TEST(Write, NumbersKeepEveryBit) {
  std::mt19937_64 random(1);
  SchemaOptions o = read("data: {kind: chain}");
  for (int i = 0; i < 2000; ++i) {
    // The bits of a positive finite double, subnormal ones included.
    o.run.lr = std::bit_cast<double>(random() % 0x7ff0000000000000u);
    if (i == 0) o.run.lr = std::numeric_limits<double>::max();
    if (i == 1) o.run.lr = std::numeric_limits<double>::denorm_min();
    EXPECT_EQ(read("data: {kind: chain}", {"run.lr=" + yaml_number(o.run.lr)}).run.lr, o.run.lr);
  }
  EXPECT_EQ(yaml_number(4.0), "4.0");
  EXPECT_EQ(yaml_number(1e-5), "1.0e-05");
  EXPECT_EQ(yaml_number(-0.0), "-0.0");
  EXPECT_THROW(yaml_number(INFINITY), std::invalid_argument);
}

TEST(Write, TextsKeepEveryCharacter) {
  SchemaOptions o = read("data: {kind: chain}");
  for (int c = 1; c < 128; ++c) {
    o.run.tags.push_back(std::string(1, static_cast<char>(c)));
    o.run.tags.push_back("a" + std::string(1, static_cast<char>(c)) + "b");
  }
  for (const char* text : {"",   "null", "~",  "NO",  "1e5", "0x1F", "é",    "日本",      "a,b",  "[a]", "{a}",
                           "&a", "*a",   "!a", "---", "...", "a #b", "a: b", "trailing ", "\n\n", "%"}) {
    o.run.tags.push_back(text);
  }
  o.run.tags.push_back(std::string("nul\0nul", 7));
  EXPECT_EQ(read(write_yaml(o)).run.tags, o.run.tags);
}

TEST(Describe, ListsEveryKeyOfEveryKind) {
  SchemaOptions o;
  const std::vector<KeyDescription> keys = describe(o);
  const auto find = [&](const std::string& path, const std::string& only_for = "") -> KeyDescription {
    for (const KeyDescription& key : keys) {
      if (key.path == path && key.only_for == only_for && key.type != "kind") return key;
    }
    ADD_FAILURE() << path << " for " << only_for << " is not described";
    return {};
  };
  EXPECT_EQ(find("data").type, "map");
  EXPECT_EQ(find("data.kind").range, "chain | text");
  EXPECT_EQ(find("data.kind").default_value, "");
  EXPECT_EQ(find("data.path", "dataset kind text").type, "list of texts");
  EXPECT_EQ(find("data.order", "dataset kind chain").range, "0 .. 9");
  EXPECT_EQ(find("data.order", "dataset kind chain").unit, "symbols");
  EXPECT_EQ(find("model.width").type, "integer");
  EXPECT_EQ(find("model.width").default_value, "128");
  EXPECT_EQ(find("model.width").range, ">= 1");
  EXPECT_EQ(find("model.width").doc, "C");
  EXPECT_EQ(find("model.bias").type, "boolean");
  EXPECT_EQ(find("model.mlp").type, "choice");
  EXPECT_EQ(find("model.mlp").default_value, "gelu");
  EXPECT_EQ(find("model.mlp.ratio", "mlp kind gelu").default_value, "4.0");
  EXPECT_EQ(find("model.mlp.ratio", "mlp kind swiglu").default_value, "2.5");
  EXPECT_EQ(find("run.precision").range, "float32 | bfloat16");
  EXPECT_EQ(find("run.lr").range, "> 0");
  EXPECT_EQ(find("run.betas").default_value, "[0.9, 0.95]");
  EXPECT_EQ(find("run.groups").type, "list of maps");
  EXPECT_EQ(find("run.groups.N.match").default_value, "\"*\"");
  EXPECT_EQ(find("run.groups.N.mlp.multiple", "mlp kind swiglu").range, ">= 1");
  const auto heading =
      std::find_if(keys.begin(), keys.end(), [](const KeyDescription& key) { return key.only_for == "mlp kind none"; });
  ASSERT_NE(heading, keys.end());
  EXPECT_EQ(heading->type, "kind");
  EXPECT_EQ(heading->doc, "the identity");
}

TEST(Describe, RangesReadAsPeopleWriteThem) {
  EXPECT_EQ(range_text({}), "");
  EXPECT_EQ(range_text({.min = 1}), ">= 1");
  EXPECT_EQ(range_text({.min = 0, .exclusive_min = true}), "> 0");
  EXPECT_EQ(range_text({.max = 2.5}), "<= 2.5");
  EXPECT_EQ(range_text({.min = 0, .max = 1}), "0 .. 1");
  EXPECT_EQ(range_text({.min = 0, .max = 1, .exclusive_min = true}), "> 0 and <= 1");
  EXPECT_EQ(range_text({.choices = {"", "a", "b c"}}), "\"\" | a | \"b c\"");
}

TEST(Suggest, EditDistanceCountsLettersAndSwaps) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("widht", "width"), 1u);
  EXPECT_EQ(edit_distance("same", "same"), 0u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u);  // optimal string alignment, not full Damerau-Levenshtein (2)
}

TEST(Suggest, OnlyCloseWords) {
  const std::vector<std::string> words{"layers", "heads", "width"};
  EXPECT_EQ(did_you_mean("layer", words), ". Did you mean 'layers'?");
  EXPECT_EQ(did_you_mean("HEADS", words), ". Did you mean 'heads'?");
  EXPECT_EQ(did_you_mean("dropout", words), "");
  EXPECT_EQ(did_you_mean("", words), "");
  EXPECT_EQ(did_you_mean(std::string(100'000, 'w'), words), "");
}

}  // namespace
}  // namespace monge::test
