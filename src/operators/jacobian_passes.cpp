#include "operators/jacobian_passes.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "gradflow/base/parallel.h"
#include "operators/jacobian_sweep.h"

namespace gradflow {
namespace {

/// Examples per matrix product: enough for BLAS to reach its full rate, few enough that what a layer leaves
/// behind is still in cache when it is used.
constexpr Index batch_examples = 512;
/// Examples that are summed at the sweep's precision before they enter the float64 sums, at most.
constexpr Index largest_group = 4096;
/// Bytes of the sums of groups that wait for their turn, unless one per thread is more.
constexpr double waiting_bytes = 256e6;
/// Bytes of the float64 sums of a block of columns, unless one column is more; and the columns beyond which
/// sharing a sweep gains less than 4 %.
constexpr double block_bytes = 128e6;
constexpr double largest_block = 64;
/// Parameters per task of adding up.
constexpr Index sum_block = 4096;

/// Examples per group: a multiple of the batch that depends on n only.
Index group_examples(Index n) {
  const Index batches = (n / wanted_groups + batch_examples - 1) / batch_examples;
  return std::clamp<Index>(batches * batch_examples, batch_examples, largest_group);
}

/// Groups whose sums are in memory at once. It moves no bit: they are added one by one, in order.
Index groups_per_round(Index entries, Index groups, std::size_t scalar_bytes) {
  const double affordable =
      waiting_bytes / (static_cast<double>(entries) * static_cast<double>(scalar_bytes));
  return std::min(groups, std::max<Index>(threads(), static_cast<Index>(std::min(affordable, 1e9))));
}

/// A power of two near the largest entry, so that a column divided by it suits float32; 1 for zeros.
double power_of_two(ConstVector v) {
  const double largest = v.size() == 0 ? 0.0 : v.cwiseAbs().maxCoeff();
  return largest > 0.0 && std::isfinite(largest) ? std::ldexp(1.0, std::ilogb(largest)) : 1.0;
}

/// Columns of V divided by their power of two, at precision T.
template <typename T>
MatrixOf<T> scaled_columns(ConstBlock V, Vector& scales) {
  MatrixOf<T> scaled(V.rows(), V.cols());
  scales.resize(V.cols());
  for (Index c = 0; c < V.cols(); ++c) {
    scales[c] = power_of_two(V.col(c));
    scaled.col(c) = (V.col(c) / scales[c]).template cast<T>();
  }
  return scaled;
}

/// Buffers of one thread.
template <typename T>
struct Workspace {
  SweepStore<T> sweep;  ///< empty when the sweeps are kept
  MatrixOf<T> scratch;
};

/// Buffers that outlive a pass, since pages fresh from the system cost more than what fills them. Each is in
/// the hands of one task at a time.
template <typename Item>
class Pool {
 public:
  /// A buffer given back earlier, or nothing.
  std::unique_ptr<Item> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return nullptr;
    std::unique_ptr<Item> item = std::move(free_.back());
    free_.pop_back();
    return item;
  }
  void give(std::unique_ptr<Item> item) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(item));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Item>> free_;
};

template <typename T>
class PassesAt final : public JacobianPasses {
 public:
  PassesAt(const DenseNetwork& network, ConstBlock X, Kept kept)
      : network_(network), n_(X.rows()), group_(group_examples(X.rows())), kept_(kept) {
    if (kept == Kept::nothing) {
      borrowed_ = std::make_unique<const ConstBlock>(X);
      return;
    }
    if (kept == Kept::features) features_.resize(network_.layers().front().inputs(), n_);
    if (kept == Kept::sweeps) store_ = std::make_unique<SweepStore<T>>(network_, n_);
    parallel_for(n_, batch_examples, [&](Index begin, Index end) {
      const Index columns = end - begin;
      if (kept == Kept::features)
        network_.load(X.middleRows(begin, columns), features_.middleCols(begin, columns));
      else
        network_.load(X.middleRows(begin, columns), store_->batch(begin, columns).inputs.front());
    });
  }

  Matrix pull(ConstBlock V) const override;
  void push(Matrix U, Block Y) const override;
  void first_pass(Vector& output, Vector& squared_norms) override;
  Matrix features(const std::vector<Index>& rows) const override;

 private:
  Index groups() const { return (n_ + group_ - 1) / group_; }

  /// body(group, workspace) for `count` groups from `first` on, in parallel.
  template <typename Body>
  void for_groups(Index first, Index count, Body&& body) const {
    const SerialBlas serial;
    parallel_for(count, 1, [&](Index g, Index) {
      std::unique_ptr<Workspace<T>> work = workspaces_.take();
      if (!work) work = new_workspace();
      body(first + g, *work);
      workspaces_.give(std::move(work));
    });
  }
  std::unique_ptr<Workspace<T>> new_workspace() const;

  /// body(begin, columns) for the batches of a group.
  template <typename Body>
  void for_batches(Index group, Body&& body) const {
    const Index end = std::min(n_, (group + 1) * group_);
    for (Index begin = group * group_; begin < end; begin += batch_examples)
      body(begin, std::min(batch_examples, end - begin));
  }

  /// The sweep over a batch, computed in the workspace unless it is kept.
  BatchSweep<T> sweep(Index begin, Index columns, Workspace<T>& work) const {
    if (kept_ == Kept::sweeps) return store_->batch(begin, columns);
    Vector output(columns);
    return compute(begin, work, output);
  }
  BatchSweep<T> compute(Index begin, Workspace<T>& work, Eigen::Ref<Vector> output) const;
  void pull_group(Index group, const MatrixOf<T>& V, Workspace<T>& work, MatrixOf<T>& sum) const;

  BatchNetwork<T> network_;
  Index n_, group_;
  Kept kept_;
  std::unique_ptr<const ConstBlock> borrowed_;  // Kept::nothing
  MatrixOf<T> features_;                        // Kept::features: [X'; bs]
  std::unique_ptr<SweepStore<T>> store_;        // Kept::sweeps
  mutable Pool<Workspace<T>> workspaces_;
  mutable Pool<MatrixOf<T>> sums_;
};

template <typename T>
std::unique_ptr<Workspace<T>> PassesAt<T>::new_workspace() const {
  auto workspace = std::make_unique<Workspace<T>>();
  workspace->scratch.resize(network_.widest(), batch_examples);
  if (kept_ != Kept::sweeps) workspace->sweep = SweepStore<T>(network_, batch_examples);
  return workspace;
}

template <typename T>
BatchSweep<T> PassesAt<T>::compute(Index begin, Workspace<T>& work, Eigen::Ref<Vector> output) const {
  const Index columns = output.size();
  BatchSweep<T> batch = kept_ == Kept::sweeps ? store_->batch(begin, columns) : work.sweep.batch(0, columns);
  if (kept_ == Kept::nothing) network_.load(borrowed_->middleRows(begin, columns), batch.inputs.front());
  if (kept_ == Kept::features) batch.inputs.front() = features_.middleCols(begin, columns);
  network_.sweep(batch, work.scratch, output);
  return batch;
}

template <typename T>
void PassesAt<T>::first_pass(Vector& output, Vector& squared_norms) {
  output.resize(n_);
  squared_norms.resize(n_);
  for_groups(0, groups(), [&](Index group, Workspace<T>& work) {
    for_batches(group, [&](Index begin, Index columns) {
      const BatchSweep<T> batch = compute(begin, work, output.segment(begin, columns));
      network_.squared_norms(batch, squared_norms.segment(begin, columns));
    });
  });
}

// sum <- J_group' V at precision T
template <typename T>
void PassesAt<T>::pull_group(Index group, const MatrixOf<T>& V, Workspace<T>& work, MatrixOf<T>& sum) const {
  sum.resize(network_.parameters(), V.cols());
  bool keep = false;
  for_batches(group, [&](Index begin, Index columns) {
    const BatchSweep<T> batch = sweep(begin, columns, work);
    for (Index c = 0; c < V.cols(); ++c)
      network_.pull(batch, V.col(c).data() + begin, keep, work.scratch, sum.col(c).data());
    keep = true;
  });
}

template <typename T>
Matrix PassesAt<T>::pull(ConstBlock V) const {
  Vector scales;
  const MatrixOf<T> scaled = scaled_columns<T>(V, scales);
  Matrix total = Matrix::Zero(network_.parameters(), V.cols());
  const Index round = groups_per_round(total.size(), groups(), sizeof(T));
  std::vector<std::unique_ptr<MatrixOf<T>>> sums(static_cast<std::size_t>(round));
  for (Index first = 0; first < groups(); first += round) {
    const Index count = std::min(round, groups() - first);
    for_groups(first, count, [&](Index group, Workspace<T>& work) {
      auto& sum = sums[static_cast<std::size_t>(group - first)];
      if (!sum) sum = sums_.take();
      if (!sum) sum = std::make_unique<MatrixOf<T>>();
      pull_group(group, scaled, work, *sum);
    });
    parallel_for(total.size(), sum_block, [&](Index begin, Index end) {
      auto sum = total.reshaped().segment(begin, end - begin);
      for (Index g = 0; g < count; ++g)
        sum +=
            sums[static_cast<std::size_t>(g)]->reshaped().segment(begin, end - begin).template cast<double>();
    });
  }
  for (auto& sum : sums) sums_.give(std::move(sum));
  for (Index c = 0; c < V.cols(); ++c) {
    total.col(c) *= scales[c];
    network_.scale_weights(total.col(c));
  }
  return total;
}

template <typename T>
void PassesAt<T>::push(Matrix U, Block Y) const {
  for (Index c = 0; c < U.cols(); ++c) network_.scale_weights(U.col(c));
  Vector scales;
  const MatrixOf<T> scaled = scaled_columns<T>(U, scales);
  U.resize(0, 0);
  for_groups(0, groups(), [&](Index group, Workspace<T>& work) {
    for_batches(group, [&](Index begin, Index columns) {
      const BatchSweep<T> batch = sweep(begin, columns, work);
      for (Index c = 0; c < Y.cols(); ++c)
        network_.push(batch, scaled.col(c).data(), scales[c], work.scratch, Y.col(c).segment(begin, columns));
    });
  });
}

template <typename T>
Matrix PassesAt<T>::features(const std::vector<Index>& rows) const {
  const auto read = [&](const auto& all) {
    const Index inputs = network_.layers().front().inputs() - (network_.bias() ? 1 : 0);
    return Matrix(all(Eigen::seqN(0, inputs), rows).transpose().template cast<double>());
  };
  return kept_ == Kept::sweeps ? read(store_->batch(0, n_).inputs.front()) : read(features_);
}

}  // namespace

std::unique_ptr<JacobianPasses> make_jacobian_passes(const DenseNetwork& network, ConstBlock X,
                                                     Precision precision, Kept kept) {
  if (precision == Precision::float32) return std::make_unique<PassesAt<float>>(network, X, kept);
  return std::make_unique<PassesAt<double>>(network, X, kept);
}

Index columns_per_pass(Index parameters) {
  const double affordable = block_bytes / (8.0 * static_cast<double>(parameters));
  return static_cast<Index>(std::clamp(affordable, 1.0, largest_block));
}

double pass_bytes(Index parameters, Index inputs, Index units, Index widest, Index n, Precision precision) {
  const double scalar = precision == Precision::float32 ? 4.0 : 8.0, P = static_cast<double>(parameters);
  const Index groups = (n + group_examples(n) - 1) / group_examples(n);
  const Index round = groups_per_round(parameters, groups, static_cast<std::size_t>(scalar));
  const Index workers = std::min<Index>(threads(), groups);
  // sums of groups; J'v, its scaled copy and that at precision T; T copies of weights and of v; batch buffers
  return static_cast<double>(round) * P * scalar + P * (16.0 + 2.0 * scalar) +
         static_cast<double>(n) * scalar +
         static_cast<double>(workers * batch_examples * (inputs + 2 * units + widest)) * scalar;
}

}  // namespace gradflow
