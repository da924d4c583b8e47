#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace gradflow {

/// Receives how far a long computation is. The library never prints: the program's terminal display and a
/// Python progress bar are implementations of this.
class Progress {
 public:
  virtual ~Progress() = default;
  /// `stage` names the work in a few words; `fraction` in [0, 1] is the part of that stage done. Called from
  /// the thread that started the computation. May throw to cancel it.
  virtual void update(std::string_view stage, double fraction) = 0;
};

inline void report_progress(Progress* progress, std::string_view stage, double fraction) {
  if (progress != nullptr) progress->update(stage, fraction);
}

/// One of `count` equal parts of a whole, all of one stage's name.
class ProgressPart final : public Progress {
 public:
  ProgressPart(Progress* whole, std::string stage, long part, long count)
      : whole_(whole), stage_(std::move(stage)), part_(part), count_(count) {}
  void update(std::string_view, double fraction) override {
    report_progress(whole_, stage_, (static_cast<double>(part_) + fraction) / static_cast<double>(count_));
  }

 private:
  Progress* whole_;
  std::string stage_;
  long part_, count_;
};

}  // namespace gradflow
