#include "gradflow/base/atomic_file.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>
#include <vector>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::ptrdiff_t files_in_folder() const {
    return std::distance(std::filesystem::directory_iterator(folder_), {});
  }
  // Files that are written and not committed.
  std::vector<std::unique_ptr<AtomicFile>> open_files(int count) const {
    std::vector<std::unique_ptr<AtomicFile>> files;
    for (int i = 0; i < count; ++i) {
      files.push_back(std::make_unique<AtomicFile>(folder_ + "/open" + std::to_string(i)));
      files.back()->write("half");
    }
    return files;
  }
  const std::string folder_ = testing::TempDir() + "gradflow_atomic_file";
};

using AtomicFileDeathTest = AtomicFileTest;

TEST_F(AtomicFileTest, WithoutCommitTheOldFileStaysAndNothingIsLeftBehind) {
  const std::string path = folder_ + "/result.csv";
  write_file_atomically(path, "old");
  { AtomicFile(path).write("half of the new"); }

  EXPECT_EQ(read_all(path), "old");
  EXPECT_EQ(files_in_folder(), 1);
}

TEST_F(AtomicFileTest, CommitReplacesTheFileWhole) {
  const std::string path = folder_ + "/result.csv";
  write_file_atomically(path, "old");
  write_file_atomically(path, "new");

  EXPECT_EQ(read_all(path), "new");
}

TEST_F(AtomicFileTest, FullDeviceAndDirectoryAreNamedInTheError) {
  try {
    write_file_atomically("/dev/full", "x");
    FAIL();
  } catch (const FileError& error) {
    EXPECT_STREQ(error.what(), "cannot write '/dev/full': No space left on device");
  }
  try {
    write_file_atomically(folder_, "x");
    FAIL();
  } catch (const FileError& error) {
    EXPECT_EQ(error.what(), "cannot write '" + folder_ + "': Is a directory");
  }
}

// What a program does at SIGTERM: the file is half written, and its temporary exists, when the signal
// arrives.
[[noreturn]] void die_of_sigterm_while_writing(const std::string& path) {
  std::signal(SIGTERM, [](int number) {
    remove_temporaries_now();
    std::signal(number, SIG_DFL);
    std::raise(number);
  });
  AtomicFile file(path), other(path + ".other");
  file.write(std::string(100'000, 'x'));
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const bool both = std::distance(std::filesystem::directory_iterator(folder), {}) == 3;
  if (both) std::raise(SIGTERM);
  std::_Exit(1);
}

TEST_F(AtomicFileDeathTest, ASignalLeavesTheOldFileAndNothingElse) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // OpenBLAS has threads
  const std::string path = folder_ + "/result.csv";
  write_file_atomically(path, "old");

  EXPECT_EXIT(die_of_sigterm_while_writing(path), testing::KilledBySignal(SIGTERM), "");

  EXPECT_EQ(read_all(path), "old");
  EXPECT_EQ(files_in_folder(), 1);
}

TEST_F(AtomicFileTest, RemovingTemporariesKeepsWhatIsCommittedAndErrno) {
  write_file_atomically(folder_ + "/result.csv", "whole");
  const auto open = open_files(3);
  ASSERT_EQ(files_in_folder(), 4);

  errno = EINTR;
  remove_temporaries_now();
  const int errno_after = errno;

  EXPECT_EQ(errno_after, EINTR);
  EXPECT_EQ(files_in_folder(), 1);
  EXPECT_EQ(read_all(folder_ + "/result.csv"), "whole");
}

TEST_F(AtomicFileTest, CommitOfARemovedTemporaryIsRefused) {
  const std::string path = folder_ + "/result.csv";
  write_file_atomically(path, "old");
  AtomicFile file(path);
  file.write("new");
  remove_temporaries_now();

  try {
    file.commit();
    FAIL();
  } catch (const FileError& error) {
    EXPECT_EQ(error.what(), "cannot write '" + path + "': No such file or directory");
  }
  EXPECT_EQ(read_all(path), "old");
}

TEST_F(AtomicFileTest, MoreFilesThanAreKnownAreWrittenAllTheSame) {
  constexpr int many = 40;
  {
    const auto open = open_files(many);
    for (const auto& file : open) file->commit();
    EXPECT_EQ(files_in_folder(), many);
    EXPECT_EQ(read_all(folder_ + "/open39"), "half");
  }
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  {
    const auto open = open_files(many);
    remove_temporaries_now();
    EXPECT_EQ(files_in_folder(), many - 16);
  }
  EXPECT_EQ(files_in_folder(), 0);
}

TEST_F(AtomicFileTest, PlacesAreGivenBackByCommitDestructionAndRemoval) {
  for (int round = 0; round < 20; ++round) {
    write_file_atomically(folder_ + "/committed", "x");
    { AtomicFile(folder_ + "/abandoned").write("x"); }
    const auto open = open_files(2);
    remove_temporaries_now();
    ASSERT_EQ(files_in_folder(), 1) << "round " << round;
  }
}

TEST_F(AtomicFileTest, AFileCommittedWhileAnotherThreadRemovesIsWholeOrRefused) {
  std::atomic<bool> stop{false};
  std::thread remover([&] {
    while (!stop) remove_temporaries_now();
  });
  std::vector<std::thread> writers;
  std::atomic<int> torn{0};
  for (int t = 0; t < 3; ++t)
    writers.emplace_back([&, path = folder_ + "/" + std::to_string(t)] {
      for (int i = 0; i < 50; ++i) {
        std::string expected = std::filesystem::exists(path) ? read_all(path) : "";
        try {
          write_file_atomically(path, std::to_string(i));
          expected = std::to_string(i);
        } catch (const FileError&) {
        }
        if ((std::filesystem::exists(path) ? read_all(path) : "") != expected) ++torn;
      }
    });
  for (std::thread& writer : writers) writer.join();
  stop = true;
  remover.join();

  EXPECT_EQ(torn, 0);
  EXPECT_LE(files_in_folder(), 3);
}

}  // namespace
}  // namespace gradflow
