// The page of a run or a model.
#include "gradflow/report/html_report.h"

#include "bindings/convert.h"

namespace gradflow::python {
namespace {

nb::dict to_dict(ReportResult result) {
  nb::list figures;
  for (Figure& figure : result.figures) {
    nb::dict each;
    each["name"] = std::move(figure.name);
    each["title"] = std::move(figure.title);
    each["caption"] = std::move(figure.caption);
    each["missing"] = std::move(figure.missing);
    each["svg"] = std::move(figure.wide);
    each["svg_narrow"] = std::move(figure.narrow);
    figures.append(std::move(each));
  }
  nb::dict page;
  page["html"] = std::move(result.html);
  page["figures"] = std::move(figures);
  return page;
}

template <typename Source>
nb::dict page_of(const Source& source, const std::string& name) {
  ReportResult result;
  {
    const nb::gil_scoped_release unlock;
    result = make_report(source, name);
  }
  return to_dict(std::move(result));
}

nb::dict page_of_file(const std::string& path) {
  ReportResult result;
  {
    const nb::gil_scoped_release unlock;
    result = make_report_of_file(path);
  }
  return to_dict(std::move(result));
}

}  // namespace

void bind_report(nb::module_& module) {
  module.def("report_of_document", &page_of<std::string>, nb::arg("document"), nb::arg("source"));
  module.def("report_of_model", &page_of<FittedModel>, nb::arg("model"), nb::arg("source"));
  module.def("report_of_class_model", &page_of<ClassModel>, nb::arg("model"), nb::arg("source"));
  module.def("report_of_file", &page_of_file, nb::arg("path"));
}

}  // namespace gradflow::python
