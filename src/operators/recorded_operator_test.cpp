#include "gradflow/operators/recorded_operator.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "laws/training_operator_laws.h"

namespace gradflow {
namespace {

namespace fs = std::filesystem;

/// H = diag(d) + u u', with d_i = 1 / (i + 1), u_i = 1 / (i + 2); counts its products.
class CountingOperator final : public TrainingOperator {
 public:
  explicit CountingOperator(Index n)
      : d_(Vector::LinSpaced(n, 1.0, static_cast<double>(n)).cwiseInverse()),
        u_(Vector::LinSpaced(n, 2.0, static_cast<double>(n + 1)).cwiseInverse()) {}
  Index size() const noexcept override { return d_.size(); }
  std::string description() const override { return "diagonal and rank one"; }
  Index calls() const { return calls_; }

 private:
  void do_apply(ConstBlock X, Block Y) const override {
    ++calls_;
    for (Index j = 0; j < X.cols(); ++j) {
      double dot = 0.0;
      for (Index i = 0; i < size(); ++i) dot += u_(i) * X(i, j);
      for (Index i = 0; i < size(); ++i) Y(i, j) = d_(i) * X(i, j) + u_(i) * dot;
    }
  }
  Vector do_diagonal() const override { return d_ + u_.cwiseAbs2(); }
  double do_squared_norm() const override {
    return d_.squaredNorm() + 2.0 * d_.dot(u_.cwiseAbs2()) + std::pow(u_.squaredNorm(), 2);
  }

  Vector d_, u_;
  mutable Index calls_ = 0;
};

/// A small run: every product's input comes of the product before.
Matrix iterate(const TrainingOperator& H, Index products, Index columns = 1, double first = 1.0) {
  Matrix X = Matrix::Constant(H.size(), columns, first), Y(H.size(), columns);
  for (Index k = 0; k < products; ++k) {
    X.col(0) *= 1.0 / X.col(0).norm();
    H.apply(X, Y);
    X = Y;
  }
  return X;
}

bool same_bits(const Matrix& A, const Matrix& B) {
  return A.rows() == B.rows() && A.cols() == B.cols() &&
         std::memcmp(A.data(), B.data(), sizeof(double) * static_cast<std::size_t>(A.size())) == 0;
}

// What a product of n x b takes in the file.
std::size_t product_bytes(std::size_t n, std::size_t b) { return 64 + 8 * n * b + 32; }

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

class RecordedOperatorTest : public testing::Test {
 protected:
  RecordedOperatorTest() { fs::create_directories(folder_); }
  ~RecordedOperatorTest() override { fs::remove_all(folder_); }

  std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(std::string_view bytes) const {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::string opening(const std::string& run) const {
    return message([&] { RecordedOperator(H_, path_, run); });
  }
  void record(Index products, Index columns) const {
    iterate(RecordedOperator(H_, path_, run_), products, columns);
  }

  const std::string folder_ = testing::TempDir() + "gradflow_recorded_operator_" + std::to_string(getpid());
  const std::string path_ = folder_ + "/run.checkpoint";
  const std::string run_ = "00112233445566778899aabbccddeeff";
  const CountingOperator H_{5};
};

TEST_F(RecordedOperatorTest, ObeysTheLawsAsItRecordsAndAsItReplays) {
  for (int i = 0; i < 2; ++i) {
    const RecordedOperator recorded(H_, path_, run_);
    RandomStream random(1, "test");

    EXPECT_EQ(laws::broken_by(recorded, random), std::vector<std::string>{});
    EXPECT_EQ(recorded.replayed() > 0, i == 1);
  }
}

TEST_F(RecordedOperatorTest, HasTheSizeTheNameAndTheEntriesOfH) {
  const RecordedOperator recorded(H_, path_, run_);

  EXPECT_EQ(recorded.size(), 5);
  EXPECT_EQ(recorded.description(), H_.description());
  EXPECT_TRUE(same_bits(recorded.matrix(), H_.matrix()));
  EXPECT_TRUE(same_bits(recorded.entries({1, 4}, {0, 1}), H_.entries({1, 4}, {0, 1})));
  EXPECT_TRUE(same_bits(recorded.diagonal(), H_.diagonal()));
  EXPECT_EQ(recorded.squared_norm(), H_.squared_norm());
  EXPECT_EQ(recorded.recorded(), 0);
}

TEST_F(RecordedOperatorTest, AReplayGivesTheSameBitsWithoutH) {
  const Index n = 70'000, columns = 3;  // a column is read in more than one piece
  const CountingOperator H(n), uncalled(n);
  const Matrix expected = iterate(H, 4, columns);
  iterate(RecordedOperator(H, path_, run_), 4, columns);
  const RecordedOperator resumed(uncalled, path_, run_);

  const Matrix replayed = iterate(resumed, 4, columns);

  EXPECT_TRUE(same_bits(replayed, expected));
  EXPECT_EQ(uncalled.calls(), 0);
  EXPECT_EQ(resumed.replayed(), 4);
  EXPECT_EQ(resumed.recorded(), 0);
}

TEST_F(RecordedOperatorTest, BeyondTheRecordItGoesOnAndRecords) {
  const Matrix expected = iterate(H_, 6, 3);
  record(4, 3);
  const std::string before = bytes();
  const CountingOperator fresh(5);

  for (const Index recorded : {2, 0}) {
    const RecordedOperator resumed(fresh, path_, run_);

    EXPECT_TRUE(same_bits(iterate(resumed, 6, 3), expected));
    EXPECT_EQ(resumed.replayed(), 6 - recorded);
    EXPECT_EQ(resumed.recorded(), recorded);
    EXPECT_EQ(resumed.problem(), "");
  }
  EXPECT_EQ(fresh.calls(), 2);
  EXPECT_TRUE(bytes().starts_with(before));
  EXPECT_EQ(bytes().size() - before.size(), 2 * product_bytes(5, 3));
}

TEST_F(RecordedOperatorTest, ABlockInsideALargerMatrixIsRecordedColumnByColumn) {
  const Matrix X = Matrix::Random(9, 4);
  Matrix Y = Matrix::Zero(9, 4), again = Y;
  RecordedOperator(H_, path_, run_).apply(X.block(2, 1, 5, 2), Y.block(2, 1, 5, 2));

  const RecordedOperator resumed(H_, path_, run_);
  resumed.apply(Matrix(X.block(2, 1, 5, 2)), again.block(2, 1, 5, 2));

  EXPECT_TRUE(same_bits(Y, again));
  EXPECT_EQ(resumed.replayed(), 1);
}

TEST_F(RecordedOperatorTest, CutAtAnyByteItResumesWithTheSameBits) {
  const Matrix expected = iterate(H_, 6, 2);
  record(6, 2);
  const std::string whole = bytes();
  const std::size_t product = product_bytes(5, 2), header = whole.size() - 6 * product;

  for (std::size_t size = 0; size < whole.size(); size += size == header ? 3 * product : 1) {
    write(whole.substr(0, size));
    const RecordedOperator resumed(H_, path_, run_);

    EXPECT_TRUE(same_bits(iterate(resumed, 6, 2), expected)) << size;
    EXPECT_EQ(resumed.replayed(), size < header ? 0 : static_cast<Index>((size - header) / product)) << size;
    EXPECT_EQ(bytes(), whole) << size;
  }
}

TEST_F(RecordedOperatorTest, ADamagedByteCostsItsProductAndThoseAfterIt) {
  const Matrix expected = iterate(H_, 6, 2);
  record(6, 2);
  const std::string whole = bytes();
  const std::size_t product = product_bytes(5, 2);

  for (std::size_t i = whole.size() - 2 * product; i < whole.size() - product; ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    write(damaged);
    const RecordedOperator resumed(H_, path_, run_);

    EXPECT_TRUE(same_bits(iterate(resumed, 6, 2), expected)) << i;
    EXPECT_EQ(resumed.replayed(), 4) << i;
    EXPECT_EQ(bytes(), whole) << i;
  }
}

TEST_F(RecordedOperatorTest, TheFileOfAnotherRunIsRefusedAndLeftAsItIs) {
  record(2, 1);
  const std::string before = bytes();
  const std::string refusal = "the checkpoint '" + path_ +
                              "' belongs to another run (its data, its options or the program differ): "
                              "remove it or name another file";

  EXPECT_EQ(opening("ffeeddccbbaa99887766554433221100"), refusal);
  EXPECT_EQ(opening("0011"), refusal);
  const CountingOperator larger(6);
  EXPECT_EQ(message([&] { RecordedOperator(larger, path_, run_); }), refusal);
  EXPECT_EQ(bytes(), before);
}

TEST_F(RecordedOperatorTest, WhatIsNoCheckpointIsRefusedAndLeftAsItIs) {
  for (const std::string content : {"y,x\n1,2\n", "gradflow checkpoint 2\nof a later program", "graph"}) {
    write(content);

    EXPECT_EQ(opening(run_), "'" + path_ + "' is no gradflow checkpoint: remove it or name another file");
    EXPECT_EQ(bytes(), content);
  }
  EXPECT_EQ(message([&] { RecordedOperator(H_, folder_, run_); }),
            "cannot write '" + folder_ + "': Is a directory");
  EXPECT_EQ(message([&] { RecordedOperator(H_, "/dev/null", run_); }),
            "'/dev/null' is no regular file: a checkpoint needs one");
  EXPECT_EQ(message([&] { RecordedOperator(H_, folder_ + "/no/file", run_); }),
            "cannot write '" + folder_ + "/no/file': No such file or directory");
}

TEST_F(RecordedOperatorTest, OtherVectorsThanTheRecordedAreRefused) {
  record(3, 1);
  const std::string before = bytes();
  const auto refusal = [&](int product) {
    return "the checkpoint '" + path_ + "' is not of this run: its product " + std::to_string(product) +
           " is of other vectors, so the data, the options, the threads or the machine changed; remove it or "
           "name another file";
  };
  const RecordedOperator resumed(H_, path_, run_);
  Matrix Y(5, 2);

  EXPECT_EQ(message([&] { resumed.apply(Matrix::Ones(5, 2), Y); }), refusal(1));
  EXPECT_EQ(message([&] { resumed.apply(Matrix::Ones(5, 1), Y.leftCols(1)); }), refusal(1));
  iterate(resumed, 2);
  EXPECT_EQ(message([&] { iterate(resumed, 1, 1, -1.0); }), refusal(3));
  EXPECT_EQ(bytes(), before);
}

TEST_F(RecordedOperatorTest, TwoRunsDoNotShareAFile) {
  const RecordedOperator first(H_, path_, run_);

  EXPECT_EQ(opening(run_), "the checkpoint '" + path_ +
                               "' is in use by another run: wait until that ends or name another file");
}

TEST_F(RecordedOperatorTest, FinishRemovesTheFileAndTheProductsGoOn) {
  RecordedOperator recorded(H_, path_, run_);
  iterate(recorded, 3);
  ASSERT_TRUE(fs::exists(path_));

  recorded.finish();

  EXPECT_FALSE(fs::exists(path_));
  EXPECT_TRUE(same_bits(iterate(recorded, 4), iterate(H_, 4)));
  EXPECT_EQ(recorded.recorded(), 3);
  EXPECT_EQ(recorded.problem(), "");
  const RecordedOperator next(H_, path_, run_);
  recorded.finish();
  EXPECT_TRUE(fs::exists(path_)) << "the next run's file is not ours";
}

TEST_F(RecordedOperatorTest, FinishRemovesTheFileThatALinkLeadsTo) {
  fs::create_symlink(path_, folder_ + "/link");
  RecordedOperator recorded(H_, folder_ + "/link", run_);
  iterate(recorded, 3);

  recorded.finish();

  EXPECT_FALSE(fs::exists(path_));
}

// Runs the body in a process of its own, which may be limited or killed; its exit status is what the body
// returns, 100 where that throws.
pid_t start(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child != 0) return child;
  int status = 100;
  try {
    status = body();
  } catch (...) {
  }
  _exit(status);
}

int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// 0 when a run whose file cannot hold its 40 products ends with the right result, and so does one that
// resumes; else the number of what does not hold.
int run_out_of_space(const std::string& path, const std::string& run, const std::string& reason) {
  const CountingOperator H(500);
  const Matrix expected = iterate(H, 40);
  Index held = 0;
  {
    RecordedOperator recorded(H, path, run);
    if (!same_bits(iterate(recorded, 40), expected)) return 1;
    held = recorded.recorded();
    if (held < 5 || held >= 40) return 2;
    if (recorded.problem() != "recording to the checkpoint '" + path + "' stopped after product " +
                                  std::to_string(held) + ": " + reason)
      return 3;
    recorded.finish();
    if (fs::file_size(path) != 22 + 16 + run.size() + static_cast<std::size_t>(held) * product_bytes(500, 1))
      return 4;
  }
  const CountingOperator fresh(500);
  const RecordedOperator resumed(fresh, path, run);
  if (!same_bits(iterate(resumed, 40), expected)) return 5;
  if (resumed.replayed() != held || fresh.calls() != 40 - held) return 6;
  return resumed.recorded() == 0 && !resumed.problem().empty() ? 0 : 7;
}

void limit_file_size(rlim_t bytes) {
  const rlimit limit{bytes, bytes};
  setrlimit(RLIMIT_FSIZE, &limit);
}

TEST_F(RecordedOperatorTest, BeyondTheLimitOfFileSizesRecordingStopsAndTheRunGoesOn) {
  const auto limited = [&] {
    limit_file_size(60'000);
    return run_out_of_space(path_, run_, "File too large");
  };

  EXPECT_EQ(wait_for(start(limited)), 0);
  EXPECT_TRUE(same_bits(iterate(RecordedOperator(CountingOperator(500), path_, run_), 40),
                        iterate(CountingOperator(500), 40)));
}

TEST_F(RecordedOperatorTest, OnAFullDiskRecordingStopsAndTheRunGoesOn) {
  constexpr int cannot_mount = 77;
  const auto on_small_disk = [&] {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=64k") != 0)
      return cannot_mount;
    return run_out_of_space(path_, run_, "No space left on device");
  };

  const int status = wait_for(start(on_small_disk));

  if (status == cannot_mount) GTEST_SKIP() << "may not mount a file system";
  EXPECT_EQ(status, 0);
}

TEST_F(RecordedOperatorTest, WithoutSpaceForItsHeaderTheFileIsNotCreated) {
  const auto limited = [&] {
    limit_file_size(10);
    return opening(run_) == "cannot write '" + path_ + "': File too large" ? 0 : 1;
  };

  EXPECT_EQ(wait_for(start(limited)), 0);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(RecordedOperatorTest, KilledAtAnyMomentItResumesWithTheSameBits) {
  const CountingOperator H(30'000);
  const Matrix expected = iterate(H, 40);
  RandomStream random(3, "moments");
  const auto run = [&] {
    iterate(RecordedOperator(H, path_, run_), 40);
    return 0;
  };

  for (int moment = 0; moment < 10; ++moment) {
    const auto size = static_cast<std::uintmax_t>(random.uniform(0.0, 40.0 * 240'000.0));
    const pid_t child = start(run);
    int status = 0;
    std::error_code missing;
    while (waitpid(child, &status, WNOHANG) == 0) {
      const std::uintmax_t now = fs::file_size(path_, missing);
      if (!missing && now >= size) kill(child, SIGKILL);
    }

    RecordedOperator resumed(H, path_, run_);
    EXPECT_TRUE(same_bits(iterate(resumed, 40), expected)) << size;
    EXPECT_EQ(resumed.replayed() + resumed.recorded(), 40) << size;
    resumed.finish();
  }
}

}  // namespace
}  // namespace gradflow
