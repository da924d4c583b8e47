#pragma once

#include <string>
#include <vector>

#include "gradflow/model/class_model.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {

/// The numbers behind a figure, as text.
struct DataTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

/// A figure of a report, drawn twice: for a screen or a paper, and for a phone.
struct Figure {
  std::string name;  ///< "training-time": of its files, and of its identifiers in the page
  std::string title;
  std::string description;   ///< what a reader who does not see it is told
  std::string caption;       ///< how to read it, and what was left out
  std::string missing;       ///< why it is not drawn; empty where it is
  std::string wide, narrow;  ///< SVG documents of 760 and 350 pixels
  DataTable table;
};

struct ReportOptions {
  std::string gnuplot = "gnuplot";  ///< the program that draws, found on PATH
};

struct ReportResult {
  std::string html;             ///< one self-contained page: no script, no request to anywhere
  std::vector<Figure> figures;  ///< in the page's order; those with `missing` have no drawing
};

/// A page of what a run found, for a person who would rather look than read. Every number in it is from the
/// run's JSON document; what the document does not have is NA with the reason, never computed here.
///
/// `document` is the text that json_report(), json_test_report() or json_class_report() wrote, `source` its
/// name in the page and in messages. The same document gives the same bytes. Throws InputError where it is
/// not such a document, and where gnuplot is not installed or fails. Cost: a few processes of gnuplot, under
/// a second each; the page is below 2 MiB for any number of rows (at most 1,500 points are drawn).
ReportResult make_report(const std::string& document, const std::string& source,
                         const ReportOptions& options = {});

/// The same for a model: of the run that it keeps. A model without one (an earlier format, or made by hand)
/// is analysed again from its training rows; throws InputError where it does not hold them, or no responses.
ReportResult make_report(const FittedModel& model, const std::string& source,
                         const ReportOptions& options = {});
ReportResult make_report(const ClassModel& model, const std::string& source,
                         const ReportOptions& options = {});

/// The same for a file: a model of either kind, or the JSON of a run.
ReportResult make_report_of_file(const std::string& path, const ReportOptions& options = {});

}  // namespace gradflow
