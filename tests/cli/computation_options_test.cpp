// Refusals of the options that say how to compute.

#include "cli/bad_input.h"

namespace gradflow::cli_test {
namespace {

std::vector<std::string> krylov(const std::vector<std::string>& more) {
  return with(with(stop("good.csv"), {"--quiet", "--engine", "krylov"}), more);
}

std::string dense_only() {
  return error(
      "--engine dense: --storage, --precision, --krylov-steps, --probes and --checkpoint are for --engine "
      "krylov");
}

INSTANTIATE_TEST_SUITE_P(
    Computation, BadInput,
    testing::Values(
        Case{"EngineUnknown", with(stop("good.csv"), {"--engine", "lanczos"}), 2,
             error("--engine lanczos: must be auto, dense or krylov")},
        Case{"StorageUnknown", krylov({"--storage", "disk"}), 2,
             error("--storage disk: must be auto, memory or none")},
        Case{"PrecisionUnknown", krylov({"--precision", "float16"}), 2,
             error("--precision float16: must be auto, float32 or float64")},
        Case{"MaxMemoryZero", krylov({"--max-memory", "0"}), 2,
             usage("--max-memory 0: must be a number of bytes > 0, as 800M, 4G or 1.5GiB", "stop ")},
        Case{"MaxMemoryOfUnknownUnit", krylov({"--max-memory", "4X"}), 2,
             usage("--max-memory 4X: must be a number of bytes > 0, as 800M, 4G or 1.5GiB", "stop ")},
        Case{"MaxMemoryTooSmall", krylov({"--threads", "1", "--max-memory", "1K"}), 2,
             error(
                 "n = 30 rows need about 6.61e-05 GB of memory (40 Krylov vectors among it), and 1.02e-06 GB "
                 "are available: raise --max-memory")},
        Case{"KrylovStepsOne", krylov({"--krylov-steps", "1"}), 2, error("--krylov-steps 1: must be >= 2")},
        Case{"KrylovStepsNotANumber", krylov({"--krylov-steps", "many"}), 2,
             usage("--krylov-steps many: must be a whole number >= 0", "stop ")},
        Case{"ProbesOne", krylov({"--probes", "1"}), 2,
             error("--probes 1: must be >= 2 (a standard error needs two), or 0 for as many as the results "
                   "need")},
        Case{"ProbesNegative", krylov({"--probes", "-2"}), 2,
             usage("--probes -2: must be a whole number >= 0", "stop ")},
        Case{"RulesUnknown", krylov({"--rules", "some"}), 2, error("--rules some: must be all or chosen")},
        Case{"RulesOfTheTest",
             {"test", "good.csv", "--target", "y", "--rules", "all"},
             2,
             usage("unknown option --rules", "test ")},
        Case{"EngineOfTheSpectrum",
             {"spectrum", "good.csv", "--target", "y", "--engine", "krylov"},
             2,
             usage("unknown option --engine", "spectrum ")},
        Case{"DenseWithStorage", with(stop("good.csv"), {"--engine", "dense", "--storage", "none"}), 2,
             dense_only()},
        Case{"DenseWithPrecision", with(stop("good.csv"), {"--engine", "dense", "--precision", "float32"}), 2,
             dense_only()},
        Case{"DenseWithKrylovSteps", with(stop("good.csv"), {"--engine", "dense", "--krylov-steps", "9"}), 2,
             dense_only()},
        Case{"DenseWithProbes", with(stop("good.csv"), {"--engine", "dense", "--probes", "9"}), 2,
             dense_only()},
        Case{"DenseWithCheckpoint", with(stop("good.csv"), {"--engine", "dense", "--checkpoint", "c"}), 2,
             dense_only()},
        Case{"CheckpointIsAnInput", krylov({"--checkpoint", "good.csv"}), 2,
             error("the output 'good.csv' is one of the inputs")},
        Case{"CheckpointIsADirectory", krylov({"--checkpoint", "."}), 2,
             error("cannot write '.': Is a directory")},
        Case{"CheckpointFolderAbsent", krylov({"--checkpoint", "no/c"}), 2,
             error("cannot write 'no/c': No such file or directory")},
        Case{"CheckpointIsAResult", krylov({"--checkpoint", "./c.json", "--json", "c.json"}), 2,
             error("--checkpoint and a result name the same file, 'c.json'")},
        Case{"CheckpointIsADevice", krylov({"--checkpoint", "/dev/null"}), 2,
             error("'/dev/null' is no regular file: a checkpoint needs one")},
        Case{"CheckpointIsAnotherFile", krylov({"--checkpoint", "notes.txt"}), 2,
             error("'notes.txt' is no gradflow checkpoint: remove it or name another file")}),
    case_name);

}  // namespace
}  // namespace gradflow::cli_test
