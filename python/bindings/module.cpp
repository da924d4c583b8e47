#include "bindings/convert.h"
#include "gradflow/base/blas_core.h"
#include "gradflow/base/parallel.h"
#include "gradflow/model/version.h"

namespace gradflow::python {

void bind_columns(nb::module_& module) {
  nb::class_<Columns>(module, "Columns", "A table in memory; numbers are views of the arrays given.")
      .def(nb::init<std::string>(), nb::arg("source"))
      .def("add_matrix", &Columns::add_matrix, nb::arg("values").noconvert(), nb::arg("names"))
      .def("add_numbers", &Columns::add_numbers, nb::arg("name"), nb::arg("values").noconvert())
      .def("add_texts", &Columns::add_texts, nb::arg("name"), nb::arg("texts"));
  nb::class_<Options>(module, "Options", "Options by the program's names.")
      .def(
          "__init__",
          [](Options* self, std::map<std::string, std::string> texts, std::map<std::string, bool> flags,
             std::map<std::string, std::vector<std::string>> lists) {
            new (self) Options{std::move(texts), std::move(flags), std::move(lists)};
          },
          nb::arg("texts"), nb::arg("flags"), nb::arg("lists"));
  module.def("set_threads", &set_threads, nb::arg("count"));
  module.def("threads", &threads);
  module.def("blas_core", &blas_core);
}

}  // namespace gradflow::python

NB_MODULE(_core, module) {
  module.doc() = "The library's calls; use the functions and classes of gradflow instead.";
  module.attr("version") = std::string(gradflow::version);
  gradflow::python::bind_columns(module);
  gradflow::python::bind_regression(module);
  gradflow::python::bind_classes(module);
  gradflow::python::bind_operators(module);
  gradflow::python::bind_report(module);
}
