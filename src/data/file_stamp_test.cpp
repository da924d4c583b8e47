#include "gradflow/data/file_stamp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <vector>

#include "data/test_support.h"

namespace gradflow {
namespace {

namespace fs = std::filesystem;

class FileStampTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_bytes(path_, "a,b\n1,2\n");
    fs::last_write_time(path_, fs::last_write_time(path_) - std::chrono::hours(1));
  }
  void TearDown() override { fs::remove_all(folder_); }
  const std::string folder_ = testing::TempDir() + "gradflow_file_stamp";
  const std::string path_ = folder_ + "/data.csv";
};

TEST_F(FileStampTest, SaysWhatIsThereAndStaysValidWhenTheFileIsRead) {
  const FileStamp stamp = stamp_file(path_);
  const std::string content = file_contents(path_);

  EXPECT_EQ(stamp.path, path_);
  EXPECT_EQ(stamp.size, content.size());
  EXPECT_GT(stamp.modified_ns, 1'600'000'000'000'000'000);
  EXPECT_NE(stamp.inode, 0U);
  EXPECT_TRUE(stamp.regular);
  EXPECT_TRUE(unchanged(stamp));
}

TEST_F(FileStampTest, ARewriteOfTheSameLengthIsSeen) {
  const FileStamp stamp = stamp_file(path_);
  write_bytes(path_, "a,b\n1,3\n");

  EXPECT_EQ(stamp_file(path_).size, stamp.size);
  EXPECT_FALSE(unchanged(stamp));
}

TEST_F(FileStampTest, AnotherLengthAtTheSameTimeIsSeen) {
  const FileStamp stamp = stamp_file(path_);
  const fs::file_time_type modified = fs::last_write_time(path_);
  write_bytes(path_, "a,b\n1,2\n3,4\n");
  fs::last_write_time(path_, modified);

  EXPECT_EQ(stamp_file(path_).modified_ns, stamp.modified_ns);
  EXPECT_FALSE(unchanged(stamp));
}

TEST_F(FileStampTest, ATouchOfOneMicrosecondIsSeen) {
  const FileStamp stamp = stamp_file(path_);
  fs::last_write_time(path_, fs::last_write_time(path_) + std::chrono::microseconds(1));

  EXPECT_FALSE(unchanged(stamp));
}

TEST_F(FileStampTest, AnEqualFileRenamedOntoThePathIsSeen) {
  const FileStamp stamp = stamp_file(path_);
  const std::string other = folder_ + "/other.csv";
  write_bytes(other, file_contents(path_));
  fs::last_write_time(other, fs::last_write_time(path_));
  fs::rename(other, path_);

  EXPECT_EQ(stamp_file(path_).modified_ns, stamp.modified_ns);
  EXPECT_FALSE(unchanged(stamp));
}

TEST_F(FileStampTest, AFileThatIsGoneOrBecameAFolderIsChanged) {
  const FileStamp stamp = stamp_file(path_);
  fs::remove(path_);
  EXPECT_FALSE(unchanged(stamp));

  fs::create_directory(path_);
  EXPECT_FALSE(unchanged(stamp));
}

TEST_F(FileStampTest, APipeIsNotRegularAndNeverChanged) {
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const FileStamp stamp = stamp_file(pipe);
  fs::remove(pipe);

  EXPECT_EQ(stamp.path, pipe);
  EXPECT_FALSE(stamp.regular);
  EXPECT_EQ(stamp.size, 0U);
  EXPECT_EQ(stamp.modified_ns, 0);
  EXPECT_EQ(stamp.inode, 0U);
  EXPECT_TRUE(unchanged(stamp));
}

TEST_F(FileStampTest, ALinkIsFollowed) {
  const std::string link = folder_ + "/link.csv";
  fs::create_symlink("data.csv", link);
  const FileStamp stamp = stamp_file(link);
  EXPECT_EQ(stamp.inode, stamp_file(path_).inode);

  write_bytes(path_, "more than before");
  EXPECT_FALSE(unchanged(stamp));
}

TEST_F(FileStampTest, AMissingFileIsNamed) {
  const std::string missing = folder_ + "/none.csv";

  EXPECT_EQ(message_of([&] { stamp_file(missing); }),
            "cannot read '" + missing + "': No such file or directory");
}

std::string fingerprint_of(std::string_view bytes) {
  Fingerprint fingerprint;
  fingerprint.add(bytes);
  return fingerprint.hex();
}

// The bytes 0, 1, 2, ...
std::string counting_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');
  return bytes;
}

// Expected values here and below: mmh3 (Python), hash64(bytes, seed=0, x64arch=True).
TEST(Fingerprint, AgreesWithThePublishedAlgorithm) {
  EXPECT_EQ(Fingerprint().hex(), "00000000000000000000000000000000");
  EXPECT_EQ(fingerprint_of(""), "00000000000000000000000000000000");
  EXPECT_EQ(fingerprint_of("hello"), "cbd8a7b341bd9b025b1e906a48ae1d19");
  EXPECT_EQ(fingerprint_of("The quick brown fox jumps over the lazy dog"),
            "e34bbc7bbc071b6c7a433ca9c49a9347");
}

TEST(Fingerprint, AgreesAroundTheEndsOfBlocks) {
  const std::vector<std::pair<std::size_t, std::string>> expected = {
      {1, "4610abe56eff5cb551622daa78f83583"},  {7, "bd4c6987ca4b0d68613addd4bd25c787"},
      {8, "47a7e1bdd68e2fc860e6ee02ec31dcc7"},  {9, "fbb4cb0f6e812d3278de751d0200ffb9"},
      {15, "47231598fd4925e9cd846dee88c67de9"}, {16, "444924b591903f30ab906456762fe845"},
      {17, "5c76f40f9fe7c20ec15f026b9edaa824"}, {31, "053dd3e1a32cd0949ee59aefb4005490"},
      {32, "c66d9022b62f500f1c050a6e34c31151"}, {33, "7d41281bfaba461255ac8073a7d6a30b"},
      {255, "03b09a824269589d85fb67610eedda83"}};

  for (const auto& [count, hex] : expected) EXPECT_EQ(fingerprint_of(counting_bytes(count)), hex) << count;
}

TEST(Fingerprint, DoesNotDependOnHowTheBytesAreSplit) {
  const std::string bytes = counting_bytes(50);
  const std::string whole = fingerprint_of(bytes);

  for (std::size_t first = 0; first <= bytes.size(); ++first) {
    for (std::size_t second = first; second <= bytes.size(); ++second) {
      Fingerprint parts;
      parts.add(std::string_view(bytes).substr(0, first));
      parts.add(std::string_view(bytes).substr(first, second - first));
      parts.add(std::string_view(bytes).substr(second));
      ASSERT_EQ(parts.hex(), whole) << first << ", " << second;
    }
  }
}

TEST(Fingerprint, AskingForItChangesNothing) {
  Fingerprint fingerprint;
  fingerprint.add("hel");
  EXPECT_EQ(fingerprint.hex(), fingerprint.hex());
  fingerprint.add("lo");

  EXPECT_EQ(fingerprint.hex(), fingerprint_of("hello"));
}

TEST(Fingerprint, NumbersAreEightBytesLeastSignificantFirst) {
  Fingerprint fingerprint;
  fingerprint.add(1.5);
  fingerprint.add(std::int64_t{-2});
  fingerprint.add(-0.0);

  EXPECT_EQ(fingerprint.hex(), "a12ccff8fab0b18ca9d2114bc19d8513");  // struct.pack("<dqd", 1.5, -2, -0.0)
}

TEST(Fingerprint, AnArrayIsEachValueInTurn) {
  std::vector<double> values(1300);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
  Fingerprint at_once, in_turn;
  at_once.add(values.data(), values.size());
  at_once.add(values.data(), 0);
  for (const double value : values) in_turn.add(value);

  EXPECT_EQ(at_once.hex(), in_turn.hex());
}

TEST(Fingerprint, OrderSignAndTypeMatterButNotTheKindOfNan) {
  const auto of = [](const std::vector<double>& values) {
    Fingerprint fingerprint;
    fingerprint.add(values.data(), values.size());
    return fingerprint.hex();
  };
  Fingerprint integer;
  integer.add(std::int64_t{1});
  const double nan = std::numeric_limits<double>::quiet_NaN();

  EXPECT_NE(of({1.0, 2.0}), of({2.0, 1.0}));
  EXPECT_NE(of({0.0}), of({-0.0}));
  EXPECT_NE(of({0.0}), of({0.0, 0.0}));
  EXPECT_NE(of({1.0}), integer.hex());
  EXPECT_EQ(of({nan}), of({std::copysign(nan, -1.0)}));
  EXPECT_NE(fingerprint_of("ab"), fingerprint_of("ba"));
}

}  // namespace
}  // namespace gradflow
