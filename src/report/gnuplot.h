#pragma once

#include <string>

namespace gradflow {

struct Drawing {
  std::string svg;
  std::string warnings;  ///< what it said beside it; the drawing is whole
};

/// What gnuplot draws by a script. It reads no start-up files; script and output pass through files without a
/// name, so that nothing is left behind. Throws InputError naming the package when the program is not found,
/// and with the line it said when it fails: a status other than 0, words on standard error that are no
/// warning, or no whole SVG.
Drawing run_gnuplot(const std::string& program, const std::string& script);

/// gnuplot's SVG as one that can stand in a page beside others: identifiers begin with `id`, no prolog, no
/// fixed size, sans-serif; a title and a description that screen readers read. Texts may hold any characters.
std::string finished_svg(const std::string& drawn, const std::string& id, const std::string& title,
                         const std::string& description);

}  // namespace gradflow
