// Bad YAML and bad overrides: each is refused with a message that says what, where, and what is allowed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "core/options_schema.h"
#include "support/temp_directory.h"

namespace monge::test {
namespace {

struct BadInput {
  std::string name;
  std::string yaml;
  std::vector<std::string> overrides;
  std::vector<std::string> expected;  // parts of the message
};

void PrintTo(const BadInput& bad, std::ostream* out) { *out << bad.name; }

class Refused : public testing::TestWithParam<BadInput> {};

TEST_P(Refused, WithAClearMessage) {
  const BadInput& bad = GetParam();
  try {
    read(bad.yaml, bad.overrides);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    for (const std::string& part : bad.expected) {
      EXPECT_NE(message.find(part), std::string::npos) << "no '" << part << "' in: " << message;
    }
  }
}

const std::string ok = "data: {kind: text, path: a.txt}\n";

const BadInput from_files[] = {
    {"empty", "", {}, {"run.yaml: the file is empty"}},
    {"only_a_comment", "# nothing\n", {}, {"run.yaml: the file is empty"}},
    {"scalar", "hello\n", {}, {"run.yaml:1:1", "expected a map, got 'hello'", "its keys: data, model, run"}},
    {"list", "- a\n", {}, {"run.yaml:1:1", "expected a map, got a list"}},
    {"syntax", "data: {kind: text\nmodel: [", {}, {"run.yaml:2:", "not valid YAML"}},
    {"tab", "data:\n\tkind: text\n", {}, {"run.yaml:2:", "not valid YAML", "indent with spaces, not with tabs"}},
    {"unknown_alias", "data: *nothing\n", {}, {"run.yaml:1:", "not valid YAML"}},
    {"merged_scalar", ok + "model: {<<: 3}\n", {}, {"run.yaml:2:13", "<< takes a map, or a list of maps, got '3'"}},
    {"merged_key_unknown", ok + "model: {<<: {widht: 3}}\n", {}, {"model.widht: unknown key"}},
    {"two_documents", ok + "---\n" + ok, {}, {"run.yaml:2:1", "a second document, or stray text, starts here"}},
    {"stray_bracket", ok + "}\n", {}, {"run.yaml:2:1"}},
    {"key_is_a_list", ok + "[a]: 1\n", {}, {"run.yaml:2:1", "a key must be a name"}},
    {"unknown_key",
     ok + "model:\n  widht: 3\n",
     {},
     {"run.yaml:3:3: model.widht: unknown key; allowed: ", "Did you mean 'width'?",
      "allowed: width, heads, dropout, bias, mlp"}},
    {"unknown_section",
     ok + "modell: {}\n",
     {},
     {"run.yaml:2:1: modell: unknown key; allowed: ", "Did you mean 'model'?"}},
    {"unknown_key_far_off",
     ok + "run: {zzzzzz: 3}\n",
     {},
     {"run.yaml:2:7: run.zzzzzz: unknown key; allowed: precision"}},
    {"unknown_key_of_a_kind",
     ok + "model: {mlp: {kind: gelu, multiple: 3}}\n",
     {},
     {"model.mlp.multiple: unknown key; allowed: kind, ratio"}},
    {"unknown_key_of_an_inline_kind",
     "data: {kind: text, path: a, order: 3}\n",
     {},
     {"run.yaml:1:29: data.order: unknown key; allowed: kind, path, fraction, workers"}},
    {"misspelt_before_missing",
     "data: {kind: text, pth: a}\n",
     {},
     {"data.pth: unknown key; allowed: ", "Did you mean 'path'?"}},
    {"unknown_key_in_a_list", ok + "run: {groups: [{}, {lr: 3}]}\n", {}, {"run.groups.1.lr: unknown key"}},
    {"merge_key", "a: &a {width: 8}\n" + ok + "model: {<<: *a}\n", {}, {"run.yaml:1:1: a: unknown key"}},
    {"duplicate_key",
     ok + "model:\n  width: 3\n  width: 4\n",
     {},
     {"run.yaml:4:3: model.width: duplicate key; it was first given at run.yaml:3:3"}},
    {"word_for_integer",
     ok + "model: {width: abc}\n",
     {},
     {"run.yaml:2:16: model.width: expected an integer, got 'abc'"}},
    {"fraction_for_integer", ok + "model: {width: 1.5}\n", {}, {"expected an integer, got '1.5'"}},
    {"quoted_integer", ok + "model: {width: '12'}\n", {}, {"expected an integer, got the text \"12\""}},
    {"nothing_for_integer", ok + "model: {width: }\n", {}, {"model.width: expected an integer, got nothing"}},
    {"list_for_integer", ok + "model: {width: [1]}\n", {}, {"expected an integer, got a list"}},
    {"map_for_integer", ok + "model: {width: {a: 1}}\n", {}, {"expected an integer, got a map"}},
    {"huge_integer", ok + "model: {width: 99999999999999999999}\n", {}, {"out of range; allowed: <= 1000000000"}},
    {"integer_beyond_its_type",
     ok + "model: {heads: 3000000000}\n",
     {},
     {"3000000000 is out of range; allowed: 1 .. 64"}},
    {"hexadecimal", ok + "model: {width: 0x10}\n", {}, {"expected an integer, got '0x10'"}},
    {"two_signs", ok + "model: {width: +-3}\n", {}, {"expected an integer, got '+-3'"}},
    {"word_for_number", ok + "run: {lr: fast}\n", {}, {"run.lr: expected a number, got 'fast'"}},
    {"nan", ok + "run: {lr: nan}\n", {}, {"run.lr: expected a finite number, got 'nan'"}},
    {"yaml_nan", ok + "run: {lr: .nan}\n", {}, {"run.lr: expected a number, got '.nan'"}},
    {"infinity", ok + "run: {lr: inf}\n", {}, {"run.lr: expected a finite number, got 'inf'"}},
    {"number_beyond_double", ok + "run: {lr: 1e999}\n", {}, {"run.lr: expected a number", "'1e999'"}},
    {"word_for_boolean", ok + "model: {bias: yes}\n", {}, {"model.bias: expected true or false, got 'yes'"}},
    {"list_for_text", ok + "run: {prompt: [a]}\n", {}, {"run.prompt: expected text, got a list"}},
    {"nothing_for_text", ok + "run: {prompt: }\n", {}, {"run.prompt: expected text, got nothing"}},
    {"map_for_numbers",
     ok + "run: {betas: {a: 1}}\n",
     {},
     {"run.betas: expected a number or a list of numbers, got a map"}},
    {"word_in_numbers",
     ok + "run: {betas: [0.9, x]}\n",
     {},
     {"run.yaml:2:20: run.betas.1: expected a number, got 'x'"}},
    {"map_for_texts",
     "data: {kind: text, path: {0: a}}\n",
     {},
     {"data.path: expected text or a list of texts, got a map"}},
    {"map_for_list", ok + "run: {groups: {0: {}}}\n", {}, {"run.groups: expected a list of maps, got a map"}},
    {"word_in_list_of_maps", ok + "run: {groups: [a]}\n", {}, {"run.groups.0: expected a map, got 'a'"}},
    {"scalar_for_section", ok + "model: 3\n", {}, {"run.yaml:2:8: model: expected a map, got '3'; its keys: width"}},
    {"scalar_for_inline_section",
     "data: text\n",
     {},
     {"run.yaml:1:7: data: expected a map, got 'text'; its keys: kind, workers"}},
    {"too_small",
     ok + "model: {width: 0}\n",
     {},
     {"run.yaml:2:16: model.width: 0 is out of range; allowed: >= 1 elements"}},
    {"too_large", ok + "model: {dropout: 1.0}\n", {}, {"1.0 is out of range; allowed: 0 .. 0.9 probability"}},
    {"not_greater", ok + "run: {lr: 0}\n", {}, {"run.lr: 0 is out of range; allowed: > 0"}},
    {"half_open", "data: {kind: text, path: a, fraction: 0}\n", {}, {"0 is out of range; allowed: > 0 and <= 0.5"}},
    {"element_out_of_range", ok + "run: {betas: [0.9, 1]}\n", {}, {"run.betas.1: 1 is out of range"}},
    {"not_a_choice",
     ok + "run: {precision: float23}\n",
     {},
     {"run.precision: 'float23' is not a choice; allowed: ", "Did you mean 'float32'?", "allowed: float32 | bfloat16"}},
    {"unknown_kind",
     ok + "model: {mlp: swigl}\n",
     {},
     {"run.yaml:2:14: model.mlp: unknown mlp 'swigl'; allowed: gelu, none, swiglu", "Did you mean 'swiglu'?"}},
    {"unknown_kind_in_a_map",
     ok + "model: {mlp: {kind: relu}}\n",
     {},
     {"run.yaml:2:21: model.mlp.kind: unknown mlp 'relu'"}},
    {"unknown_inline_kind",
     "data: {kind: txt}\n",
     {},
     {"data.kind: unknown dataset 'txt'; allowed: ", "Did you mean 'text'?"}},
    {"kind_is_a_list",
     ok + "model: {mlp: [gelu]}\n",
     {},
     {"model.mlp: expected the name of a kind of mlp, got a list; allowed"}},
    {"kind_is_nothing", ok + "model: {mlp: }\n", {}, {"model.mlp: expected the name of a kind of mlp, got nothing"}},
    {"missing_section",
     "model: {width: 64}\n",
     {},
     {"run.yaml", "data.kind: this key is required and missing (what to train on); allowed: chain, text"}},
    {"missing_key",
     "model: {}\ndata: {kind: text}\n",
     {},
     {"run.yaml:2:7: data.path: this key is required and missing (text files)"}},
    {"check_of_a_section", ok + "model: {heads: 3}\n", {}, {"run.yaml:2:8: model: heads (3) must divide width (128)"}},
    {"check_of_a_kind",
     ok + "model: {mlp: {kind: swiglu, multiple: 13}}\n",
     {},
     {"run.yaml:2:14: model.mlp: multiple is 13"}},
    {"check_of_an_inline_kind",
     "data: {kind: text, path: [a, b, c, d]}\n",
     {},
     {"run.yaml:1:7: data: path lists more"}},
    {"contains_itself",
     ok + "run: &a {groups: [*a]}\n",
     {},
     {"run.yaml:2:19: run.groups.0: an alias to what contains it"}},
    {"doubling_aliases",
     "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
     "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n",
     {},
     {"run.yaml:6:", "aliases stand for more than 100000 values"}},
    {"deep_nesting", std::string(20000, '['), {}, {"run.yaml", "not valid YAML"}},
};
INSTANTIATE_TEST_SUITE_P(File, Refused, testing::ValuesIn(from_files),
                         [](const auto& info) { return info.param.name; });

const BadInput from_overrides[] = {
    {"no_equals", ok, {"model.width"}, {"override 'model.width': there is no '='; write key.path=value"}},
    {"no_value", ok, {"run.prompt="}, {"override 'run.prompt=': run.prompt: there is no value", "run.prompt=''"}},
    {"no_key", ok, {"=3"}, {"override '=3'", "empty"}},
    {"empty_key", ok, {"model..width=3"}, {"override 'model..width=3'", "empty"}},
    {"leading_dot", ok, {".width=3"}, {"empty"}},
    {"trailing_dot", ok, {"model.=3"}, {"empty"}},
    {"unknown_key",
     ok,
     {"model.widht=3"},
     {"override 'model.widht=3': model.widht: unknown key; allowed: ", "Did you mean 'width'?",
      "allowed: width, heads"}},
    {"unknown_section",
     ok,
     {"modle.width=3"},
     {"override 'modle.width=3': modle: unknown key; allowed: ", "Did you mean 'model'?"}},
    {"too_deep", ok, {"model.width.x=3"}, {"model.width: expected an integer, got a map"}},
    {"wrong_type",
     ok,
     {"model.width=wide"},
     {"override 'model.width=wide': model.width: expected an integer, got 'wide'"}},
    {"out_of_range", ok, {"model.width=-1"}, {"override 'model.width=-1'", "-1 is out of range; allowed: >= 1"}},
    {"beyond_reason", ok, {"model.width=1000000000001"}, {"1000000000001 is out of range; allowed: <= 1000000000"}},
    {"beyond_64_bits",
     ok,
     {"model.width=99999999999999999999"},
     {"99999999999999999999 is out of range; allowed: <= 1000000000"}},
    {"name_of_another_program", ok, {"model.n_embd=3"}, {"unknown key", "Did you mean 'model.width'?"}},
    {"section_by_scalar", ok, {"model=3"}, {"override 'model=3': model: expected a map, got '3'; its keys: width"}},
    {"bad_yaml", ok, {"run.betas=[0.9"}, {"override 'run.betas=[0.9': run.betas: not valid YAML"}},
    {"duplicate_key", ok, {"model={width: 1, width: 2}"}, {"model.width: duplicate key"}},
    {"index_too_large",
     ok + "run: {groups: [{}]}\n",
     {"run.groups.1.match=a"},
     {"run.groups: '1' is no index of this list; its length is 1"}},
    {"index_negative", ok, {"run.betas.-1=0.5"}, {"'-1' is no index of this list; its length is 2"}},
    {"index_no_number", ok, {"run.betas.first=0.5"}, {"'first' is no index"}},
    {"element_of_an_empty_list", ok, {"run.groups.0.match=a"}, {"its length is 0"}},
    {"unknown_kind", ok, {"model.mlp=swigul"}, {"override 'model.mlp=swigul': model.mlp: unknown mlp", "'swiglu'"}},
    {"key_of_the_replaced_kind",
     ok,
     {"data.kind=chain", "data.path=b"},
     {"override 'data.path=b': data.path: unknown key", "allowed: kind, order, fraction, workers"}},
    {"key_of_another_kind", ok, {"model.mlp.multiple=3"}, {"model.mlp.multiple: unknown key; allowed: kind, ratio"}},
    {"missing_key_of_the_new_kind", "data: {kind: chain}\n", {"data.kind=text"}, {"data.path: this key is required"}},
    {"check", ok, {"model.heads=5"}, {"model: heads (5) must divide width (128)"}},
    {"bad_key_of_the_replaced_kind", "data: {kind: text, pth: a}\n", {"data.kind=chain"}, {"data.pth: unknown key"}},
};
INSTANTIATE_TEST_SUITE_P(Override, Refused, testing::ValuesIn(from_overrides),
                         [](const auto& info) { return info.param.name; });

std::string message_of_file(const std::string& path) {
  SchemaOptions options;
  try {
    read_yaml_file(path, {}, options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RefusedFile, MissingOrADirectory) {
  EXPECT_EQ(message_of_file("/nowhere/run.yaml"), "/nowhere/run.yaml: cannot be opened: No such file or directory");
  EXPECT_NE(message_of_file(std::string(5000, 'x')).find("cannot be opened: File name too long"), std::string::npos);
  const test::TempDirectory directory;
  const std::string folder = directory.path().string();
  EXPECT_EQ(message_of_file(folder), folder + ": this is a directory; expected a YAML file");
  std::ofstream(folder + "/config.yaml") << "a: 1";
  EXPECT_EQ(message_of_file(folder),
            folder + ": this is a directory; expected a YAML file, such as " + folder + "/config.yaml");
}

// Whatever the bytes, reading succeeds or throws InputError, and what it accepts can be written and read again.
TEST(Fuzz, MutatedYamlIsReadOrRefused) {
  const std::string seed_text = R"(data: {kind: text, path: [a.txt, "b\n"], fraction: 0.25}
model: &m
  width: 1e2
  heads: 5
  bias: true
  mlp: {kind: swiglu, multiple: 4}
run:
  prompt: 'it''s'  # comment
  lr: +3e-4
  betas: [0, 0.5]
  groups:
    - {match: "*.norm.*", lr_scale: 0}
    - mlp: gelu
      match: |
        block
)";
  const std::string alphabet = std::string("{}[]:,-#&*!|>'\"%@`\n\t ?~<.=+0e9akm\\") + '\0' + '\x80' + '\xff' + '\xef';
  const std::vector<std::string> overrides{"model.heads=2", "run.groups.0.match=a", "data.kind=chain",
                                           "model=3",       "model.mlp=none",       "run.lr=x"};
  std::mt19937 random(20240601);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  int accepted = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = seed_text;
    for (std::size_t edits = 1 + below(4); edits > 0 && !text.empty(); --edits) {
      const std::size_t at = below(text.size());
      switch (below(4)) {
        case 0: text[at] = alphabet[below(alphabet.size())]; break;
        case 1: text.insert(at, 1, alphabet[below(alphabet.size())]); break;
        case 2: text.erase(at, 1 + below(5)); break;
        default: text.insert(below(text.size()), text.substr(at, below(40))); break;
      }
    }
    std::vector<std::string> chosen;
    if (below(3) == 0) chosen.push_back(overrides[below(overrides.size())]);
    try {
      SchemaOptions options = read(text, chosen);
      const std::string written = write_yaml(options);
      SchemaOptions again = read(written);
      ASSERT_EQ(write_yaml(again), written) << text;
      ++accepted;
    } catch (const InputError& error) {
      ASSERT_STRNE(error.what(), "");
      ++refused;
    }
  }
  EXPECT_GT(accepted, 100);  // the mutations reach both sides
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace monge::test
