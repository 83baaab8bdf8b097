#include "train/checkpoint/checkpoint.h"

#include <sys/resource.h>

#include <csignal>
#include <functional>

#include "core/error.h"
#include "core/safetensors.h"
#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/checkpoint/checksum.h"
#include "train/checkpoint/saved_model.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;
using test::checkpoint_dir;
using test::read_file;
using test::TempDirectory;
using test::train_tiny;
using test::write_file;

const std::vector<std::string> files{"model.safetensors", "optimizer.safetensors", "state.json"};

/// One short run that the tests of damage copy from.
class CheckpointTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    origin_ = new TempDirectory();
    train_tiny(*origin_ / "run", {"train.steps=4"});
  }
  static void TearDownTestSuite() {
    delete origin_;
    origin_ = nullptr;
  }
  void SetUp() override { restore(); }

  /// The checkpoint as it was written.
  void restore() {
    fs::remove_all(dir_ / "run");
    fs::copy(*origin_ / "run", dir_ / "run", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  }
  fs::path run() const { return dir_ / "run"; }
  fs::path file(const std::string& name) const { return checkpoint_dir(run(), 4) / name; }

  /// What --resume says; "" when it works.
  std::string resume() const {
    try {
      train_tiny(run(), {"train.steps=4"}, /*resume=*/true);
      return "";
    } catch (const InputError& e) {
      return e.what();
    }
  }
  void expect_damage_noticed(const std::string& name, const std::string& what) const {
    const std::string metrics = read_file(run() / "metrics.jsonl");
    const std::string message = resume();
    EXPECT_NE(message.find("step_00000004' is damaged"), std::string::npos) << what << ": " << message;
    EXPECT_NE(message.find(name), std::string::npos) << what << ": " << message;
    EXPECT_EQ(read_file(run() / "metrics.jsonl"), metrics) << "a refused resume must not touch the run";
  }

  static TempDirectory* origin_;
  TempDirectory dir_;
};
TempDirectory* CheckpointTest::origin_ = nullptr;

TEST_F(CheckpointTest, UntouchedIsAccepted) { EXPECT_EQ(resume(), ""); }

TEST_F(CheckpointTest, TruncationIsNoticed) {
  for (const std::string& name : files) {
    const std::string whole = read_file(file(name));
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{100},
                                     whole.size() / 2, whole.size() - 1}) {
      write_file(file(name), whole.substr(0, length));
      expect_damage_noticed(name, fmt::format("{} cut to {} bytes", name, length));
    }
    write_file(file(name), whole + "x");
    expect_damage_noticed(name, name + " with a byte more");
    restore();
  }
}

TEST_F(CheckpointTest, EveryFlippedByteIsNoticed) {
  RandomSequence random(1, 0);
  for (const std::string& name : files) {
    const std::string whole = read_file(file(name));
    for (int trial = 0; trial < 200; ++trial) {
      std::string damaged = whole;
      const std::size_t at = random.below(whole.size());
      damaged[at] = static_cast<char>(damaged[at] ^ static_cast<char>(1 + random.below(255)));
      write_file(file(name), damaged);
      EXPECT_THROW(Checkpoint(checkpoint_dir(run(), 4)).verify(), InputError) << name << ", byte " << at;
    }
    expect_damage_noticed(name, "last flip");
    write_file(file(name), whole);
  }
  EXPECT_EQ(resume(), "");
}

TEST_F(CheckpointTest, MissingAndForeignFilesAreNoticed) {
  for (const std::string& name : files) {
    fs::remove(file(name));
    EXPECT_NE(resume().find(name), std::string::npos) << name;
    write_file(file(name), "PK\x03\x04 this is something else");
    expect_damage_noticed(name, "foreign " + name);
    restore();
  }
  // A whole file of the right kind, from another run.
  train_tiny(dir_ / "other", {"train.steps=4", "train.seed=2"});
  fs::copy_file(checkpoint_dir(dir_ / "other", 4) / "model.safetensors", file("model.safetensors"),
                fs::copy_options::overwrite_existing);
  expect_damage_noticed("model.safetensors", "model of another run");
}

TEST_F(CheckpointTest, RestoresWhatWasSaved) {
  const SavedModel saved = load_model(run());
  EXPECT_EQ(saved.state.step, 4);
  EXPECT_EQ(saved.state.tokens, 4 * 64);
  EXPECT_EQ(saved.state.vocab, 6);
  EXPECT_EQ(saved.tokenizer->save(), saved.state.tokenizer);
  const SafeTensors written(checkpoint_dir(run(), 4) / "model.safetensors");
  for (const auto& entry : saved.store->entries()) {
    EXPECT_EQ(written.tensor(entry.name, {}).values(), saved.store->value(entry).values()) << entry.name;
  }
}

TEST_F(CheckpointTest, LoadingRefusesAnotherModel) {
  EXPECT_THROW(load_model(run(), {"model.width=32"}), InputError);
  EXPECT_THROW(load_model(run() / "checkpoints"), InputError);
  EXPECT_THROW(load_model(dir_ / "nowhere"), InputError);
  EXPECT_EQ(load_model(checkpoint_dir(run(), 4), {"train.batch=1"}).config.train.batch, 1);
}

// Before models had kinds, all were of the kind that is now called gpt.
TEST_F(CheckpointTest, AConfigurationWithoutAKindOfModelIsThatOfAGpt) {
  const TempDirectory dir;
  train_tiny(dir / "whole");
  {
    train::Run run(test::tiny_config());
    const Checkpoint checkpoint(checkpoint_dir(dir / "whole", 16));
    CheckpointState state = checkpoint.state();
    const std::size_t line = state.config.find("  kind: gpt\n");
    ASSERT_NE(line, std::string::npos) << state.config;
    state.config.erase(line, 12);
    checkpoint.restore(*run.store);
    checkpoint.restore(*run.optimizer);
    write_checkpoint(dir / "old/checkpoints", state, *run.store, run.optimizer->state());
  }
  EXPECT_EQ(load_model(dir / "old").config.model.kind, "gpt");
  EXPECT_HAS(error_of([&] { load_model(dir / "old", {"model.width=32"}); }), "model.width: 16 -> 32");
  fs::copy_file(dir / "whole/metrics.jsonl", dir / "old/metrics.jsonl");
  train_tiny(dir / "old", {}, /*resume=*/true);
  test::expect_same_run(dir / "whole", dir / "old", 20);
}

TEST_F(CheckpointTest, WithoutTheContentOfItsDataIsReadAndContinued) {
  Checkpoint checkpoint(checkpoint_dir(run(), 4));
  EXPECT_EQ(checkpoint.state().data.size(), 16u);
  train::Run parts(test::tiny_config());
  CheckpointState state = checkpoint.state();
  checkpoint.restore(*parts.store);
  checkpoint.restore(*parts.optimizer);
  state.data = "";
  write_checkpoint(run() / "checkpoints", state, *parts.store, parts.optimizer->state());
  EXPECT_EQ(resume(), "");
  // The data is what it was as far as anybody knows.
  EXPECT_NO_THROW(train_tiny(run(), {"train.steps=6", "data.language_seed=5"}, /*resume=*/true));
  EXPECT_EQ(Checkpoint(checkpoint_dir(run(), 6)).state().data.size(), 16u);
}

TEST_F(CheckpointTest, TheBestIsFoundInARunFolderOnly) {
  EXPECT_EQ(find_checkpoint(run(), Which::best), checkpoint_dir(run(), 4));
  EXPECT_HAS(error_of([&] { find_checkpoint(checkpoint_dir(run(), 4), Which::best); }), "--best");
  fs::remove(run() / "checkpoints/best");
  EXPECT_HAS(error_of([&] { find_checkpoint(run(), Which::best); }), "--best");
}

TEST(Checkpoints, KeepsTheNewestAndTheBest) {
  const TempDirectory dir;
  // Diverges slowly on purpose: the first evaluation stays the best.
  train_tiny(dir / "run",
             {"train.steps=12", "train.eval_every=2", "train.checkpoint_every=2", "train.keep_checkpoints=2",
              "optimizer.lr=3", "optimizer.schedule={kind: constant, warmup: 12}"});
  double best = 1e9;
  int best_step = 0;
  for (const auto& line : test::metrics_of(dir / "run")) {
    if (!line.contains("val_loss") || line["val_loss"].get<double>() >= best) continue;
    best = line["val_loss"];
    best_step = line["step"];
  }
  ASSERT_LT(best_step, 10) << "the test needs a run whose best checkpoint is not among the last";
  std::vector<std::string> kept;
  for (const auto& entry : fs::directory_iterator(dir / "run/checkpoints")) kept.push_back(entry.path().filename());
  std::ranges::sort(kept);
  const std::string best_name = fmt::format("step_{:08}", best_step);
  EXPECT_EQ(kept, (std::vector<std::string>{"best", best_name, "step_00000010", "step_00000012"}));
  EXPECT_EQ(fs::read_symlink(dir / "run/checkpoints/best"), best_name);
  EXPECT_EQ(*Checkpoint(dir / "run/checkpoints/best").state().val_loss, best);
}

TEST(Checkpoints, AFullDiskKeepsTheOlderOnes) {
  const TempDirectory dir;
  train_tiny(dir / "run", {"train.steps=4"});
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};  // less than the model needs
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    train_tiny(dir / "run", {"train.steps=8"}, /*resume=*/true);
  } catch (const RunError& e) {
    message = e.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, previous);
  EXPECT_NE(message.find("the checkpoint of step 8 was not written"), std::string::npos) << message;
  for (const auto& entry : fs::directory_iterator(dir / "run/checkpoints")) {
    EXPECT_FALSE(entry.path().filename().string().ends_with(".partial")) << entry.path();
  }
  train_tiny(dir / "run", {"train.steps=8"}, true);
  train_tiny(dir / "whole", {"train.steps=4"});
  train_tiny(dir / "whole", {"train.steps=8"}, true);
  test::expect_same_run(dir / "whole", dir / "run", 8);
}

/// Written when checkpoints did not yet name the algorithm of their checksums.
TEST(Checkpoints, ThoseOfBeforeAreReadAndTheirDamageIsNoticed) {
  const TempDirectory dir;
  const fs::path old = dir / "old";
  const auto verify = [&] {
    const Checkpoint checkpoint(old);
    checkpoint.verify();
    return checkpoint.state().step;
  };
  for (const std::string& name : files) {
    fs::copy(MONGE_SOURCE_DIR "/tests/fixtures/checkpoint_multiply_xor", old,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    EXPECT_EQ(verify(), 2);
    std::string bytes = read_file(old / name);
    bytes[bytes.size() / 2] ^= 1;
    write_file(old / name, bytes);
    EXPECT_THROW(verify(), InputError) << name;
  }
}

TEST_F(CheckpointTest, UnknownChecksumsAreRefused) {
  std::string state = read_file(file("state.json"));
  const std::size_t place = state.find("\"xxh3\"");
  ASSERT_NE(place, std::string::npos);
  write_file(file("state.json"), state.replace(place, 6, "\"xxh9\""));
  EXPECT_NE(resume().find("\"xxh9\""), std::string::npos) << resume();
}

TEST(Checksum, IsThatOfXxHash) {  // xxhsum -H3 of xxHash 0.8
  EXPECT_EQ(checksum_text(checksum(std::string())), "2d06800538d394c2");
  EXPECT_EQ(checksum_text(checksum(std::string("0123456789abcdef012"))), "c0bbc3022d18eebd");
}

class ChecksumTest : public testing::TestWithParam<ChecksumAlgorithm> {};

TEST_P(ChecksumTest, SeesEveryByteAndTheLength) {
  const auto sum = [](const std::string& text) { return checksum(text, GetParam()); };
  const std::string text = "0123456789abcdef012";
  const std::uint64_t whole = sum(text);
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ (1 << bit));
      EXPECT_NE(sum(other), whole);
    }
  }
  EXPECT_NE(sum(text + '\0'), whole);
  EXPECT_NE(sum(""), sum(std::string(8, '\0')));
}

TEST_P(ChecksumTest, OfAFileIsThatOfItsBytes) {
  const TempDirectory dir;
  std::string content(3 << 20, 'x');  // several blocks of reading
  content += "odd";
  write_file(dir / "file", content);
  EXPECT_EQ(file_checksum(dir / "file", GetParam()), checksum(content, GetParam()));
  EXPECT_THROW(file_checksum(dir / "none", GetParam()), InputError);
}

INSTANTIATE_TEST_SUITE_P(Algorithms, ChecksumTest,
                         testing::Values(ChecksumAlgorithm::xxh3, ChecksumAlgorithm::multiply_xor));

}  // namespace
}  // namespace monge::train
