#pragma once

namespace gradflow::cli {

/// From here on SIGINT, SIGTERM and SIGHUP remove half-written temporary files and clear the progress line,
/// then end the program by that signal, so that a shell sees what it died of. A signal the caller ignores
/// (nohup) stays ignored. Call once, before the first file is written.
void clean_up_on_interrupt();

}  // namespace gradflow::cli
