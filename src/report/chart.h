#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "gradflow/base/types.h"
#include "gradflow/report/html_report.h"
#include "report/run_document.h"

namespace gradflow {

/// One drawing's size; a phone's is drawn on its own, so that its text has the size of the page's.
struct Canvas {
  int width, height;
  bool narrow;
};

/// Okabe and Ito's colours, told apart by colour-blind readers; of them those dark enough for thin lines on
/// white, green and purple darkened. Series also differ in dashes or marks.
namespace colour {
inline constexpr const char* ink = "#1a1a1a";
inline constexpr const char* muted = "#595959";
inline constexpr const char* rule = "#d9d9d9";
inline constexpr const char* blue = "#0072b2";
inline constexpr const char* vermillion = "#d55e00";
inline constexpr const char* green = "#007a5a";
inline constexpr const char* purple = "#8e4585";
}  // namespace colour

/// An axis' ends, low < high.
struct Range {
  double low = 0.0, high = 1.0;
};

/// From the finite (positive, for a logarithmic axis) values, with a margin; `found` false where there are
/// none.
struct Extent {
  void add(double value);
  void add(const Vector& values);
  Range linear() const;
  Range logarithmic() const;  ///< of the positive values
  bool found = false, positive = false;
  double least = 0.0, most = 0.0, least_positive = 0.0;
};

/// Where a panel stands on the canvas, in shares of it.
struct Panel {
  double left, right, bottom, top;
};

/// A series in a legend: a line of these dashes, or a mark of this gnuplot point type.
struct LegendEntry {
  std::string name;
  const char* ink;
  int dash;  ///< gnuplot's dt; 0: a mark
  int mark;  ///< gnuplot's pt; 0: a line
};

/// A gnuplot script: numbers and our own words only; what a user wrote never enters it.
class Script {
 public:
  explicit Script(const Canvas& canvas);

  template <typename... Arguments>
  Script& line(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    text_ += fmt::format(text, std::forward<Arguments>(arguments)...);
    text_ += '\n';
    return *this;
  }
  /// Columns of equal length as $NAME; NaN is a missing value.
  Script& data(const std::string& name, const std::vector<Vector>& columns);
  Script& panel(const Panel& panel);
  Script& x_axis(const std::string& label, const Range& range, bool logarithmic);
  Script& y_axis(const std::string& label, const Range& range, bool logarithmic);
  /// What the series are, above the panel: beside each other, or on a phone below each other.
  Script& legend(const std::vector<LegendEntry>& entries);

  const std::string& text() const { return text_; }

 private:
  Script& tics(char axis, const Range& range, bool logarithmic, bool labelled);

  Canvas canvas_;
  Panel panel_{0.0, 1.0, 0.0, 1.0};
  std::string text_;
};

/// A figure before it is drawn.
struct Chart {
  Figure figure;  ///< without its drawings
  std::string wide_script, narrow_script;
};

/// Calls `draw(canvas)` for both sizes; heights in pixels.
template <typename Draw>
void draw_both(Chart& chart, int wide_height, int narrow_height, Draw&& draw) {
  chart.wide_script = draw(Canvas{760, wide_height, false});
  chart.narrow_script = draw(Canvas{350, narrow_height, true});
}

inline constexpr Index most_points_drawn = 1500, most_points_on_phone = 400, most_rows_in_table = 200;

/// At most `most` of 0, ..., count - 1, evenly spaced, the ends among them.
std::vector<Index> thinned(Index count, Index most);
/// The same for a logarithmic axis: all of the first, fewer and fewer of the later ones.
std::vector<Index> thinned_by_log(Index count, Index most);
Vector picked(const Vector& values, const std::vector<Index>& places);
/// A name as a label of a drawing: letters, digits, spaces and .-_ only.
std::string label(const std::string& name);

/// The time axis of the run's path.
std::string time_label(const RunDocument& run);

Chart training_chart(const RunDocument& run);
Chart profile_chart(const RunDocument& run);
Chart spectrum_chart(const RunDocument& run);
Chart decorrelation_chart(const RunDocument& run);
Chart fit_chart(const RunDocument& run);
Chart calibration_chart(const RunDocument& run);
Chart reliability_chart(const RunDocument& run);

}  // namespace gradflow
