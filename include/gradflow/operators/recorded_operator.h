#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradflow/operators/training_operator.h"

namespace gradflow {

/// A training operator whose products are recorded in a file (a checkpoint), so that a run that was
/// interrupted goes on with bit-equal results:
///
///     k-th call:   Y <- the record's k-th product where it holds one,  else  Y <- H X, which is recorded
///
/// What a run computes is decided by its inputs and the products H X. Started again with the same inputs it
/// asks for the same products in the same order: the record answers the first ones, and H the rest. The
/// first call that the record cannot answer ends the replay for good.
///
/// The file, all integers and doubles little-endian with 8 bytes, all fingerprints 32 hexadecimal digits:
///
///     header    "gradflow checkpoint 1\n", n, length of the run's fingerprint, the run's fingerprint
///     product   "product\n", number (from 1), n, b, fingerprint of X (its n b doubles, column by column),
///               the n b doubles of H X, fingerprint of this product's bytes before it
///
/// It only ever grows, by one product at a time, and is on disk at the latest 5 s and one product later: a
/// program that is killed loses the product that was being written, a machine that stops a few more. Read
/// back, a product that is cut short or does not have its fingerprint is dropped with all that follow it, and
/// computed anew. A lock keeps other runs from the file.
///
/// When the file cannot grow (no space left) recording stops, the products so far stay, and the run goes on.
///
/// Diagonal, squared norm and entries are H's own and are not recorded.
///
/// Memory: less than 2 MiB beyond H's. Cost per product: two fingerprints and writing or reading 8 n b bytes.
/// apply() is called from one thread at a time, also where H's own may be called from several.
class RecordedOperator final : public TrainingOperator {
 public:
  /// H outlives this. `run` is the fingerprint of everything that decides the run's numbers. A missing file
  /// is created. Throws InputError, which names the file and says what to do, when it is not a gradflow
  /// checkpoint, belongs to another run, or is in use; FileError when it cannot be opened, locked or created
  /// ("cannot write 'PATH': REASON").
  ///
  /// apply() throws InputError when the record holds the product of H with another X, and FileError when the
  /// record cannot be read; the file is then as it was.
  RecordedOperator(const TrainingOperator& H, std::string path, std::string run);
  ~RecordedOperator() override;

  Index size() const noexcept override { return H_.size(); }
  std::string description() const override { return H_.description(); }
  Index columns_at_once() const noexcept override { return H_.columns_at_once(); }

  Index replayed() const noexcept;  ///< products answered from the record so far
  Index recorded() const noexcept;  ///< products added to it
  /// Empty, or one sentence that says why recording stopped, or why finish() could not remove the file.
  const std::string& problem() const noexcept;

  /// The run is complete: removes the file (that which the path leads to, if it is a link). Later products
  /// are H's and are not recorded. Does nothing when recording stopped.
  void finish();

 private:
  class Record;

  void do_apply(ConstBlock X, Block Y) const override;
  Vector do_diagonal() const override { return H_.diagonal(); }
  double do_squared_norm() const override { return H_.squared_norm(); }
  Matrix do_matrix() const override { return H_.matrix(); }
  Matrix do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const override {
    return H_.entries(rows, cols);
  }

  const TrainingOperator& H_;
  std::unique_ptr<Record> record_;
};

}  // namespace gradflow
