#include "train/data/pair_dataset.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_directory.h"
#include "train/data/pair_layout.h"

namespace monge::train {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr const char* lines = "ab\tba\nabc\tcba\n\nc\tc\nba\tab\n";  // 0 \t, 1 \n, 2 a, 3 b, 4 c

DatasetContext apart(std::int64_t T, std::int64_t S) {
  return {.context = T, .fields = {{"tokens", T}, {"targets", T}, {"source", S}, {"source_segment", S}}, .seed = 3};
}
DatasetContext together(std::int64_t T) { return {.context = T, .fields = {{"tokens", T}, {"targets", T}}, .seed = 3}; }

/// The fields of one sequence.
struct Sequence {
  explicit Sequence(const DatasetContext& context) {
    for (const nn::BatchField& field : context.fields) values.emplace_back(field.name, Tokens(field.length, 99));
    for (auto& [name, ids] : values) row.add(name, std::span(ids));
  }
  const Tokens& operator[](const std::string& name) const {
    return std::ranges::find(values, name, [](const auto& each) { return each.first; })->second;
  }
  std::vector<std::pair<std::string, Tokens>> values;
  Row row;
};

class Pairs : public testing::Test {
 protected:
  std::unique_ptr<Dataset> make(const DatasetContext& context, const std::string& text = lines,
                                const std::string& name = "pairs.tsv", bool packed = false, bool skip_long = false) {
    test::write_file(dir_ / name, text);
    PairOptions o;
    o.path = {(dir_ / name).string()};
    o.validation_fraction = 0.5;
    o.packed = packed;
    o.skip_long = skip_long;
    return make_pair_dataset(o, context);
  }
  std::string refusal(const DatasetContext& context, const std::string& text, const std::string& name = "pairs.tsv",
                      bool packed = false) {
    return error_of([&] { make(context, text, name, packed); });
  }
  test::TempDirectory dir_;
};

TEST_F(Pairs, ASourceStandsApartForModelsThatReadOne) {
  const DatasetContext context = apart(5, 4);
  const auto data = make(context);
  EXPECT_EQ(data->validation_windows(), 2);
  EXPECT_TRUE(data->has_answers());
  Sequence s(context);
  data->validation_window(1, s.row);  // ba -> ab
  EXPECT_EQ(s["source"], (Tokens{3, 2, 1, 1}));
  EXPECT_EQ(s["source_segment"], (Tokens{0, 0, 1, 1}));
  EXPECT_EQ(s["tokens"], (Tokens{1, 2, 3, 1, 1}));
  EXPECT_EQ(s["targets"], (Tokens{2, 3, 1, -1, -1}));
}

TEST_F(Pairs, SourceAndTargetFollowEachOtherForOthers) {
  const DatasetContext context = together(8);
  const auto data = make(context);
  Sequence s(context);
  data->validation_window(1, s.row);
  EXPECT_EQ(s["tokens"], (Tokens{3, 2, 0, 2, 3, 1, 1, 1}));
  EXPECT_EQ(s["targets"], (Tokens{-1, -1, 2, 3, 1, -1, -1, -1}));
}

TEST_F(Pairs, PackedOnesShareASequence) {
  const DatasetContext context = together(9);
  const auto data = make(context, lines, "pairs.tsv", /*packed=*/true);
  EXPECT_EQ(data->validation_windows(), 1);  // c -> c in three places, a line break, ba -> ab in five
  Sequence s(context);
  data->validation_window(0, s.row);
  EXPECT_EQ(s["tokens"], (Tokens{4, 0, 4, 1, 3, 2, 0, 2, 3}));
  EXPECT_EQ(s["targets"], (Tokens{-1, 4, 1, -1, -1, -1, 2, 3, 1}));
  bool several = false;
  for (std::uint64_t i = 0; i < 20; ++i) {
    data->train_sequence(i, s.row);
    several |= std::ranges::count(s["targets"], 1) > 1;
  }
  EXPECT_FALSE(several) << "two training pairs of five places and more do not fit into nine";
}

TEST_F(Pairs, PackedOnesShareASequenceAndItsSource) {
  DatasetContext context = apart(6, 4);
  context.fields.push_back({"segment", 6});
  const auto data = make(context, lines, "pairs.tsv", /*packed=*/true);
  EXPECT_EQ(data->validation_windows(), 1);  // c -> c and ba -> ab: three tokens of source, 2 + 1 + 3 of target
  Sequence s(context);
  data->validation_window(0, s.row);
  EXPECT_EQ(s["source"], (Tokens{4, 3, 2, 1}));
  EXPECT_EQ(s["source_segment"], (Tokens{0, 1, 1, 2}));
  EXPECT_EQ(s["tokens"], (Tokens{1, 4, 1, 2, 3, 1}));
  EXPECT_EQ(s["targets"], (Tokens{4, 1, 2, 3, 1, -1}));
  EXPECT_EQ(s["segment"], (Tokens{0, 0, 1, 1, 1, 1}));
  const HostBatch window =
      make_batch(context.fields, 1, [&](std::int64_t, const Row& row) { data->validation_window(0, row); });
  EXPECT_EQ(first_source(window), 1u);
  EXPECT_EQ(first_target(window), 2u);
  // Where the sources of both have no room, each has a sequence of its own.
  context = apart(6, 2);
  context.fields.push_back({"segment", 6});
  EXPECT_EQ(make(context, "ab\tba\nc\tc\nba\tab\n", "pairs.tsv", true)->validation_windows(), 2);
  EXPECT_HAS(refusal(apart(6, 4), lines, "pairs.tsv", true), "model.packed: true");
}

TEST_F(Pairs, JsonLinesAreReadByTheirKeys) {
  const std::string text = R"({"source": "ab", "target": "ba", "more": 1})"
                           "\n"
                           R"({"source": "b", "target": "b"})"
                           "\n";
  const DatasetContext context = apart(4, 4);
  const auto data = make(context, text, "pairs.jsonl");
  Sequence s(context);
  data->train_sequence(0, s.row);
  EXPECT_EQ(s["source_segment"], (Tokens{0, 0, 1, 1}));
  EXPECT_HAS(refusal(context, "{\"source\": \"ab\"}\n", "pairs.jsonl"), "line 1: there is no text 'target'");
  EXPECT_HAS(refusal(context, "[1]\n", "pairs.jsonl"), "line 1: a line of a .jsonl file is an object");
  EXPECT_HAS(refusal(context, "{\n", "pairs.jsonl"), "line 1");
  EXPECT_HAS(refusal(context, std::string(200000, '['), "pairs.jsonl"), "line 1: the line is nested too deeply");
  EXPECT_HAS(refusal(context, R"({"source": "a\nb", "target": "b"})", "pairs.jsonl"), "holds a tab or a line break");
}

TEST_F(Pairs, WhatIsNoPairIsRefusedWithItsLine) {
  const DatasetContext context = apart(5, 4);
  EXPECT_HAS(refusal(context, "a\tb\nab\n"), "pairs.tsv, line 2: 1 column; a line is a source, a tab and a target");
  EXPECT_HAS(refusal(context, "a\tb\tc\n"), "line 1: 3 columns");
  EXPECT_HAS(refusal(context, "a\tb\n\tb\n"), "line 2: the source is empty");
  EXPECT_HAS(refusal(context, "a\t\n"), "line 1: the target is empty");
  EXPECT_HAS(refusal(context, "a\tb\nabcab\tb\n"),
             "line 2: the source has 5 tokens; allowed: 4 (model.source_context)");
  EXPECT_HAS(refusal(context, "a\tbcbcb\na\tb\n"), "line 1: the target has 5 tokens; allowed: 4");
  EXPECT_HAS(refusal(together(4), "ab\tbc\na\tb\n"), "source and target have 2 and 2 tokens; allowed: 3 together");
  EXPECT_HAS(refusal(context, "a\tb\n"), "1 pairs that fit");
  EXPECT_HAS(refusal(context, lines, "pairs.tsv", /*packed=*/true), "data.packed");
  EXPECT_HAS(error_of([&] { make_pair_dataset({}, context); }), "data.path");
}

TEST_F(Pairs, LongOnesCanBeLeftOut) {
  const auto data = make(apart(4, 2), lines, "pairs.tsv", false, /*skip_long=*/true);
  EXPECT_HAS(data->description(), "3 pairs");
  EXPECT_HAS(data->description(), "1 too long ones left out");
}

TEST_F(Pairs, ContentIsThatOfThePairs) {
  const auto first = make(apart(5, 4))->content({});
  EXPECT_EQ(make(apart(6, 7), lines, "moved.tsv")->content({}), first);
  EXPECT_NE(make(apart(5, 4), fmt::format("{}a\ta\n", lines))->content({}), first);
}

}  // namespace
}  // namespace monge::train
