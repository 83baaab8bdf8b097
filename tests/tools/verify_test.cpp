// monge verify attention: the claims hold, and an error that was planted is found.
#include "tools/verify/claims.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/row_map/custom.h"
#include "support/expect_error.h"
#include "support/program.h"
#include "support/row_maps.h"
#include "support/svg_texts.h"
#include "tools/program/program.h"
#include "tools/verify/figure.h"

namespace monge::tools {
namespace {

using test::Program;
using test::Result;

TEST(Claims, HoldOnRandomProblemsOfAnySeed) {
  for (const std::uint64_t seed : {1, 2, 3, 1234567}) {
    const Findings findings = examine_random(seed);
    EXPECT_EQ(findings.claims.size(), 20u);
    for (const Claim& claim : findings.claims) {
      EXPECT_TRUE(claim.ok()) << claim.text << ": " << claim.measured << ", seed " << seed;
    }
  }
}

TEST(Claims, AreMissedBeyondTheirBoundAndByNan) {
  EXPECT_TRUE((Claim{.measured = 1e-12, .bound = 1e-10}).ok());
  EXPECT_FALSE((Claim{.measured = 1e-9, .bound = 1e-10}).ok());
  EXPECT_FALSE((Claim{.measured = std::nan(""), .bound = 1e-10}).ok());
  EXPECT_TRUE((Claim{.measured = 0.8, .bound = 0.7, .at_least = true}).ok());
  EXPECT_FALSE((Claim{.measured = 0.6, .bound = 0.7, .at_least = true}).ok());
  EXPECT_FALSE((Claim{.measured = std::nan(""), .bound = 0.7, .at_least = true}).ok());
  const Findings findings{.title = "t", .claims = {{.text = "good", .bound = 1.0}, {.text = "bad", .measured = 2.0}}};
  ASSERT_EQ(missed({findings}).size(), 1u);
  EXPECT_EQ(missed({findings})[0].text, "bad");
  EXPECT_HAS(table_text(findings), " NO\n");
}

/// Softmax, a little too warm, with the curvature of the map that it claims to be.
struct WarmSoftmax : SoftmaxMap {
  static constexpr const char* name = "warm softmax";
  static constexpr bool curvature_is_weight = false;
  template <class Row>
  typename Row::Number weights(Row& row) const {
    row.apply([](auto z) { return z * typename Row::Number(0.999); });
    return SoftmaxMap::weights(row);
  }
  template <class Row>
  void recompute(Row& row, typename Row::Number stat) const {
    row.apply([](auto z) { return z * typename Row::Number(0.999); });
    SoftmaxMap::recompute(row, stat);
  }
};

TEST(Claims, FindAPlantedError) {
  const Problems random = random_problems(1);
  std::vector<RowProblem> rows;
  for (const RowProblem& row : random.rows) {
    if (as<SoftmaxMap>(row.map)) rows.push_back(row);
  }
  const auto all = [&] {
    return std::vector<Claim>{kkt_claim(rows),       mirror_descent_claim(rows),    duality_gap_claim(rows),
                              advantage_claim(rows), finite_difference_claim(rows), bare_advantage_claim(rows)};
  };
  for (const Claim& claim : all()) EXPECT_TRUE(claim.ok()) << claim.text;
  for (RowProblem& row : rows) row.map = custom_row_map(WarmSoftmax{});
  for (const Claim& claim : all()) EXPECT_FALSE(claim.ok()) << claim.text << ": " << claim.measured;

  std::vector<LayerProblem> layers{random.layers.front()};
  EXPECT_TRUE(factors_claim(layers, 1).ok());
  EXPECT_TRUE(kl_claim(layers, 1).ok());
  layers[0].call.args.map = custom_row_map(WarmSoftmax{});
  EXPECT_FALSE(covariance_claim(layers, 1).ok());
  EXPECT_FALSE(factors_claim(layers, 1).ok());
  EXPECT_FALSE(product_claim(layers, 1).ok());
}

/// The map of a user who got the Jacobian wrong.
struct WrongCurvature : SigmoidMap {
  static constexpr const char* name = "wrong";
  template <class Row, class Element, class Number>
  Element curvature(Element weight, Number) const {
    return weight;
  }
};

class VerifyProgram : public testing::Test {
 protected:
  void SetUp() override { program.write_config(); }
  Program program;
};

TEST_F(VerifyProgram, PrintsATableOfNoMoreThanEightyColumns) {
  const Result result = program.run("verify attention --seed 7");
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* part : {"claim", "source", "measured", "bound", "mirror descent", "Kronecker", "yes", "E_p u"}) {
    EXPECT_HAS(result.out, part);
  }
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_EQ(program.run("verify attention --seed 7").out, result.out);
}

TEST_F(VerifyProgram, ChecksTheLayersOfATrainedModel) {
  ASSERT_EQ(program.run("train config.yaml --out run").code, 0);
  ASSERT_EQ(program.run("train config.yaml model.attention=sigmoid model.position=rope --out sigmoid").code, 0);
  const Result result = program.run("verify attention run --json");
  EXPECT_EQ(result.code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["ok"], true);
  ASSERT_EQ(json["findings"].size(), 2u);
  EXPECT_HAS(json["findings"][1]["title"].get<std::string>(), "step_00000020");
  EXPECT_EQ(json["findings"][1]["claims"].size(), 18u);
  for (const auto& claim : json["findings"][1]["claims"]) EXPECT_EQ(claim["ok"], true) << claim;

  const Result other = program.run("verify attention sigmoid");
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_HAS(other.out, "2 of 2 layers are not softmax");
}

TEST_F(VerifyProgram, ChecksAnEncoderAndDecoderOfPackedPairs) {
  test::write_file(program / "pairs.tsv", "ab\tba\nabc\tcba\nc\tc\nba\tab\n");
  const Result trained = program.run(
      "train config.yaml --out run 'data={kind: pairs, path: pairs.tsv, packed: true, validation_fraction: 0.5}' "
      "'model={kind: encoder_decoder, layers: 1, heads: 2, width: 16, context: 9, source_context: 6, packed: true}'");
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Result result = program.run("verify attention run");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_HAS(result.out, "layers without a causal mask were left out");
  EXPECT_HAS(program.run("verify spectrum run").err, "packed pairs (model.packed)");
}

TEST_F(VerifyProgram, WrongInputIsRefused) {
  EXPECT_EQ(program.run("verify").code, 2);
  const Result none = program.run("verify attention none");
  EXPECT_EQ(none.code, 2);
  EXPECT_HAS(none.err, "none");
  EXPECT_EQ(program.run("verify attention --figure no/such/folder.svg").code, 2);
}

// In a user's own program, on models with maps of their own.
TEST_F(VerifyProgram, AMapOfOnesOwnPassesUnlessItsJacobianIsWrong) {
  const auto register_kind = [](const char* name, const RowMap& map) {
    nn::attentions().add<nn::AttentionOptions>(
        name, "for this test", [map](const auto& options, const auto& context, auto& position) {
          return std::make_unique<nn::RowMapAttention>(map, options, context, position);
        });
  };
  register_kind("squared_relu", custom_row_map(test::SquaredReluMap{}));
  register_kind("wrong", custom_row_map(WrongCurvature{}));
  /// Exit code and message of training with a kind and verifying the run.
  const auto verify = [&](const std::string& kind, const std::string& update) {
    const auto call = [](std::vector<std::string> arguments) {
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      testing::internal::CaptureStdout();
      testing::internal::CaptureStderr();
      const int code = run(static_cast<int>(argv.size()), argv.data());
      testing::internal::GetCapturedStdout();
      return std::pair(code, testing::internal::GetCapturedStderr());
    };
    const std::string out = (program / kind).string();
    const auto [code, message] = call({"monge", "train", (program / "config.yaml").string(), "model.attention=" + kind,
                                       "optimizer.attention=" + update, "--out", out});
    EXPECT_EQ(code, 0) << message;
    return call({"monge", "verify", "attention", out});
  };
  const auto [good, silence] = verify("squared_relu", "fisher");
  EXPECT_EQ(good, 0) << silence;
  const auto [wrong, message] = verify("wrong", "backprop");
  EXPECT_EQ(wrong, 3);
  EXPECT_HAS(message, "backprop = finite differences");
}

TEST(Figure, IsThatOfTheDocs) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const std::string svg = figure_svg(), drawn = test::read_file(MONGE_SOURCE_DIR "/docs/attention_rows.svg");
  const std::vector<std::string> texts = test::svg_texts(svg);
  for (const char* title :
       {"scores z", "softmax", "softmax1", "sparsemax", "entmax15", "sigmoid", "relu", "softplus", "softpick"}) {
    EXPECT_EQ(std::ranges::count(texts, title), 1) << title;
  }
  EXPECT_EQ(texts, test::svg_texts(drawn)) << "draw it anew with --figure";
  const auto gnuplot = [](const std::string& document) {
    const std::size_t start = document.find("<desc>");
    return document.substr(start, document.find("</desc>", start) - start);
  };
  if (gnuplot(svg) == gnuplot(drawn)) {
    EXPECT_EQ(svg, drawn) << "draw it anew with --figure";
  }
}

TEST(Figure, WithoutGnuplotTheMessageSaysWhatToInstall) {
  const test::TempDirectory empty;
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", empty.path().c_str(), 1);
  const std::string message = error_of<RunError>([] { figure_svg(); });
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_HAS(message, "gnuplot is not installed");
  EXPECT_HAS(message, "apt-get install gnuplot-nox");
}

}  // namespace
}  // namespace monge::tools
