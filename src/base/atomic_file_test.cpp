#include "gradflow/base/atomic_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  const std::string folder_ = testing::TempDir() + "gradflow_atomic_file";
};

TEST_F(AtomicFileTest, WithoutCommitTheOldFileStaysAndNothingIsLeftBehind) {
  const std::string path = folder_ + "/result.csv";
  write_file_atomically(path, "old");
  { AtomicFile(path).write("half of the new"); }

  EXPECT_EQ(read_all(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
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

}  // namespace
}  // namespace gradflow
