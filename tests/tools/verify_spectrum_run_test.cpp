// monge verify spectrum RUN: every kept checkpoint is read, and what is measured is what was planted.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/program.h"
#include "support/tiny_run.h"
#include "tools/verify/papers/spectral_law.h"
#include "tools/verify/papers/spectrum.h"

namespace monge::tools {
namespace {

const std::vector<std::string> recipe{"model.context=64",      "model.position=alibi", "train.keep_checkpoints=9",
                                      "train.sample_tokens=0", "train.eval_every=0",   "train.checkpoint_every=8"};

std::vector<std::string> with(std::vector<std::string> more) {
  more.insert(more.begin(), recipe.begin(), recipe.end());
  return more;
}

TEST(SpectrumOfARun, ReadsAllThatWasKept) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", recipe);
  const auto spectra = run_spectra(dir / "run", 1);
  ASSERT_EQ(spectra.size(), 6u);  // steps 8, 16 and 20 of two layers
  const std::int64_t steps[] = {8, 8, 16, 16, 20, 20};
  for (std::size_t i = 0; i < spectra.size(); ++i) {
    EXPECT_EQ(spectra[i].step, steps[i]);
    EXPECT_EQ(spectra[i].layer, i % 2 == 0 ? "layer 0" : "layer 1");
    EXPECT_EQ(spectra[i].n, 32);
    EXPECT_GT(spectra[i].beta, 0.0);
  }
  EXPECT_EQ(run_spectra(test::checkpoint_dir(dir / "run", 16), 1).size(), 2u);
  const Findings findings = run_spectrum_findings(spectra);
  EXPECT_EQ(findings.notes.size(), 6u);
  EXPECT_HAS(findings.notes[5], "step     20, layer 1");
  for (const char* part : {"layer 0", "layer 1", "step"}) EXPECT_HAS(run_spectrum_svg(spectra), part);
}

// At the start scores are small beside slopes, and those of ALiBi are a line over the keys: their spread is known, and
// a matrix of equal rows has one singular value.
TEST(SpectrumOfARun, KnowsTheSpreadOfSlopes) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "none", with({"model.position=rope", "optimizer.lr=1e-9"}));
  test::train_tiny(dir / "alibi", with({"optimizer.lr=1e-9"}));
  const auto none = run_spectra(dir / "none", 1), alibi = run_spectra(dir / "alibi", 1);
  const double line = std::sqrt((32.0 * 32.0 - 1.0) / 12.0), slopes = (std::exp2(-4.0) + std::exp2(-8.0)) / 2.0;
  for (std::size_t i = 0; i < none.size(); ++i) {
    EXPECT_LT(none[i].beta, 0.02);
    EXPECT_NEAR(alibi[i].beta, slopes * line, 2e-3);
    EXPECT_GT(alibi[i].largest, 0.9);
    EXPECT_LT(none[i].largest, alibi[i].largest);
  }
}

TEST(SpectrumOfARun, ASpectrumIsThatOfTheMatrix) {
  Matrix diagonal = Matrix::Zero(6, 6);
  diagonal.diagonal() << 1.0, -2.0, 5.0, 0.5, 4.0, 3.0;
  const Vector bulk = bulk_spectra({diagonal})[0];
  ASSERT_EQ(bulk.size(), 3);
  EXPECT_NEAR(bulk[0], 0.25, 1e-12);
  EXPECT_NEAR(bulk[1], 1.0, 1e-12);
  EXPECT_NEAR(bulk[2], 4.0, 1e-12);
  EXPECT_NEAR(marchenko_pastur(2000, 0.5).mean(), 0.5, 5e-3);
}

TEST(SpectrumOfARun, WhatTheLawIsNotAboutIsRefused) {
  const test::Program program;
  test::train_tiny(program / "sigmoid", with({"model.attention.kind=sigmoid"}));
  const test::Result refused = program.run("verify spectrum sigmoid");
  EXPECT_EQ(refused.code, 2);
  EXPECT_HAS(refused.err, "the law is about softmax");
  EXPECT_EQ(program.run("verify spectrum nowhere").code, 2);
}

}  // namespace
}  // namespace monge::tools
