// A run has its folder alone, and writes only over what a run has written.
#include "train/folder/run_folder.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "support/expect_error.h"
#include "support/tiny_run.h"
#include "train/folder/output_file.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;
using test::read_file;
using test::TempDirectory;
using test::write_file;

/// A process that holds the lock of a folder until it is killed.
class Holder {
 public:
  explicit Holder(const fs::path& folder) {
    int ready[2];
    if (::pipe(ready) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      const FolderLock lock(folder, "run");
      [[maybe_unused]] const auto said = ::write(ready[1], "x", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    [[maybe_unused]] const auto heard = ::read(ready[0], &byte, 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Holder() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST(FolderLock, IsHeldByOne) {
  const TempDirectory dir;
  Holder holder(dir / "run");
  const auto claim = [&] { const FolderLock lock(dir / "run", "run"); };
  const std::string message = error_of<FolderTaken>(claim);
  EXPECT_HAS(message, "another run is at work in '" + (dir / "run").string());
  EXPECT_HAS(message, fmt::format("process {} on ", holder.pid()));
  EXPECT_HAS(message, " since 20");
  EXPECT_TRUE(FolderLock::is_held(dir / "run"));
  holder.kill();
  EXPECT_FALSE(FolderLock::is_held(dir / "run"));
  EXPECT_TRUE(fs::exists(dir / "run/.lock")) << "the test needs a lock that was left behind";
  EXPECT_NO_THROW(claim());
  const FolderLock first(dir / "run", "run");
  EXPECT_HAS(error_of<FolderTaken>(claim), fmt::format("process {} on ", ::getpid())) << "of the same process";
}

TEST(FolderLock, IsNotHeldByAFile) {
  const TempDirectory dir;
  EXPECT_FALSE(FolderLock::is_held(dir.path()));
  write_file(dir / ".lock", "process 1 on elsewhere since 1970-01-01\n");
  EXPECT_FALSE(FolderLock::is_held(dir.path()));
  { const FolderLock lock(dir.path(), "run"); }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(FolderLock, LeavesNoDirectoryThatHoldsNothing) {
  const TempDirectory dir;
  { const FolderLock lock(dir / "a/b/c/", "run"); }
  EXPECT_TRUE(fs::is_empty(dir.path()));
  {
    const FolderLock lock(dir / "a/b/c", "run");
    write_file(dir / "a/b/kept", "");
  }
  EXPECT_TRUE(fs::exists(dir / "a/b/kept"));
  EXPECT_FALSE(fs::exists(dir / "a/b/c"));
}

TEST(FolderLock, IsNotWrittenThroughALink) {
  const TempDirectory dir;
  write_file(dir / "victim", "keep");
  fs::create_directory(dir / "run");
  fs::create_symlink(dir / "victim", dir / "run/.lock");
  EXPECT_HAS(error_of([&] { const FolderLock lock(dir / "run", "run"); }), "'.lock' is a link");
  EXPECT_EQ(read_file(dir / "victim"), "keep");
}

TEST(FolderLock, NoticesThatTheFolderIsElsewhere) {
  const TempDirectory dir;
  {
    const FolderLock lock(dir / "run", "run");
    EXPECT_NO_THROW(lock.check());
    fs::rename(dir / "run", dir / "moved");
    EXPECT_HAS(error_of<RunError>([&] { lock.check(); }), "was moved or removed");
    const FolderLock other(dir / "run", "run");
    EXPECT_THROW(lock.check(), RunError);
    EXPECT_NO_THROW(other.check());
  }
  EXPECT_TRUE(fs::exists(dir / "moved"));
}

TEST(OutputFile, IsAPlainFileThatNothingIsReadFrom) {
  const TempDirectory dir;
  write_file(dir / "text.txt", "text");
  fs::create_symlink("text.txt", dir / "link");
  fs::create_directory(dir / "folder");
  fs::create_symlink("not_there", dir / "dangling");
  write_file(dir / "old.json", "old");
  fs::create_symlink("old.json", dir / "ahead");
  const std::vector<fs::path> read{dir / "text.txt"};
  for (const char* name : {"text.txt", "link", "folder", "dangling", "none/file", ""}) {
    EXPECT_HAS(error_of([&] { OutputFile("--save", name[0] == '\0' ? fs::path() : dir / name, read); }), "--save")
        << name;
  }
  EXPECT_HAS(error_of([&] { OutputFile("--save", "/dev/null"); }), "no plain file");
  OutputFile("--save", dir / "ahead", read).write("one");
  EXPECT_TRUE(fs::is_symlink(dir / "ahead"));
  EXPECT_EQ(read_file(dir / "old.json"), "one");
  EXPECT_EQ(read_file(dir / "text.txt"), "text");
}

TEST(RunFolder, IsClaimedBeforeItIsLookedInto) {
  const TempDirectory dir;
  const RunFolder first(dir / "run", false);
  for (const bool resume : {false, true}) {
    EXPECT_HAS(error_of([&] { const RunFolder second(dir / "run", resume); }), "another run is at work");
  }
}

TEST(RunFolder, AnErrorIsKeptWhereARunIs) {
  const TempDirectory dir;
  const auto leaves = [&](const char* name, bool resume, const std::function<void(const RunFolder&)>& prepare) {
    {
      const RunFolder folder(dir / name, resume);
      prepare(folder);
      folder.record_error("monge: why\n");
    }
    return read_file(dir / name / "error.txt");
  };
  const auto nothing = [](const RunFolder&) {};
  EXPECT_EQ(leaves("new", false, nothing), "");
  EXPECT_FALSE(fs::exists(dir / "new"));
  EXPECT_EQ(leaves("resumed", true, nothing), "monge: why\n");
  EXPECT_EQ(leaves("begun", false, [](const RunFolder& f) { write_file(f.config(), ""); }), "monge: why\n");
  EXPECT_EQ(leaves("ended", true, [](const RunFolder& f) { write_file(f.summary(), ""); }), "");
  EXPECT_EQ(leaves("moved", true,
                   [&](const RunFolder& f) {
                     fs::rename(f.path(), dir / "aside");
                     fs::create_directory(f.path());
                   }),
            "");
  { const RunFolder again(dir / "resumed", true); }
  EXPECT_FALSE(fs::exists(dir / "resumed/error.txt")) << "it goes on";
  // Where the message cannot be written, that there was one.
  EXPECT_EQ(leaves("full", true, [](const RunFolder& f) { fs::create_directory(f.error().string() + ".partial"); }),
            "");
  EXPECT_TRUE(fs::is_regular_file(dir / "full/error.txt"));
}

TEST(RunFolder, TheNextOneIsThatOfOneRun) {
  const TempDirectory dir;
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  {
    const auto first = RunFolder::next("mine.yaml");
    EXPECT_EQ(first->path().filename(), "mine-1");
    // A run that looked before the first one was there.
    EXPECT_THROW(RunFolder("runs/mine-1", false), FolderTaken);
    EXPECT_EQ(RunFolder::next("mine.yaml")->path().filename(), "mine-2");
  }
  EXPECT_TRUE(fs::is_empty(dir.path())) << "runs that did not start leave nothing";
  fs::current_path(before);
}

TEST(RunFolder, WritesOverNothingThatIsNotOfARun) {
  const TempDirectory dir;
  test::train_tiny(dir / "run", {"train.steps=4"});
  const auto resume = [&] { test::train_tiny(dir / "run", {"train.steps=8"}, /*resume=*/true); };
  write_file(dir / "victim", "keep");
  for (const char* name : {"config.yaml", "metrics.jsonl", "sample.txt", "summary.json", "checkpoints"}) {
    const fs::path file = dir / "run" / name;
    fs::rename(file, dir / "aside");
    fs::create_symlink(dir / "victim", file);
    EXPECT_HAS(error_of(resume), file.string() + "' is a link");
    fs::remove(file);
    fs::create_symlink(dir / "nowhere", file);
    EXPECT_HAS(error_of(resume), file.string() + "' is a link");
    fs::remove(file);
    fs::rename(dir / "aside", file);
  }
  fs::rename(dir / "run/checkpoints/best", dir / "aside");
  fs::create_directories(dir / "run/checkpoints/best/mine");
  EXPECT_HAS(error_of(resume), "checkpoints/best' is a directory, and a run has a link there");
  fs::remove_all(dir / "run/checkpoints/best");
  EXPECT_EQ(read_file(dir / "victim"), "keep");
  EXPECT_FALSE(fs::exists(dir / "nowhere"));
  // What a text file is written beside to may be a link as well.
  fs::create_symlink(dir / "victim", dir / "run/config.yaml.partial");
  resume();
  EXPECT_EQ(read_file(dir / "victim"), "keep");
}

}  // namespace
}  // namespace monge::train
