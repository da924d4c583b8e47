#include "cli/bad_input.h"

namespace gradflow::cli_test {
namespace {

TEST_P(BadInput, GetsItsSentenceAndExitCodeAndLeavesNoFile) {
  const std::vector<std::string> before = folder->names();

  const ProgramResult result = run_program(folder->path(), GetParam().arguments);

  EXPECT_EQ(result.err, GetParam().message);
  EXPECT_EQ(result.exit_code, GetParam().exit_code);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(folder->names(), before);
}

const std::vector<std::string> array_options{"stop", "--features", "X.npy", "--response", "y.npy"};

INSTANTIATE_TEST_SUITE_P(
    Tables, BadInput,
    testing::Values(
        Case{"MissingFile", stop("absent.csv"), 2,
             error("cannot read 'absent.csv': No such file or directory")},
        Case{"Directory", stop("."), 2, error("cannot read '.': Is a directory")},
        Case{"EmptyFile", stop("empty.csv"), 2,
             error("empty.csv: the file is empty; a header and rows are required")},
        Case{"HeaderOnly", stop("header.csv"), 2, error("header.csv: a header, but no rows")},
        Case{"OneRow", stop("one.csv"), 2, error("one.csv: 1 row to learn from; at least 2 are required")},
        Case{"RaggedRow", stop("ragged.csv"), 2, error("ragged.csv, line 3: 2 fields, but the header has 3")},
        Case{"UnterminatedQuote", stop("quote.csv"), 2,
             error("quote.csv, line 3: a quote (\") is opened and never closed")},
        Case{"NonNumericCell", stop("text.csv"), 2,
             error("text.csv, line 3, column 'x2': 'five' is not a number; name the column in --categorical "
                   "if its values are categories")},
        Case{"NonNumericResponse", stop("text_y.csv"), 2,
             error("text_y.csv, line 3, column 'y': 'six' is not a number; the response must be numeric, or "
                   "a class with --classes")},
        Case{"InfiniteCell", stop("inf.csv"), 2,
             error("inf.csv, line 3, column 'x2': 'inf' is not a finite number; every value must be finite "
                   "or missing")},
        Case{"HugeCell", stop("huge.csv"), 2,
             error("huge.csv, line 3, column 'x2': '1e300' exceeds 1e150 in magnitude; rescale the column")},
        Case{
            "AllMissingColumn", stop("all_missing.csv"), 2,
            error(
                "all_missing.csv, column 'x2': every value is missing; leave the column out with --exclude")},
        Case{"MissingUnderPolicyError", with(stop("missing.csv"), {"--missing", "error"}), 2,
             error("missing.csv, line 3, column 'x2': the value is missing; --missing drop leaves such rows "
                   "out, --missing mean fills them in")},
        Case{"ConstantResponse", stop("constant_y.csv"), 2,
             error("constant_y.csv, column 'y': the response is 3 in all 3 rows used; there is nothing to "
                   "learn")},
        Case{"ConstantFeatures", stop("constant_x.csv"), 2,
             error("constant_x.csv: every feature column is constant (x1, x2); at least one must vary")},
        Case{"DuplicatedColumnNames", stop("same_names.csv"), 2,
             error("same_names.csv, line 1: columns 1 and 2 are both named 'x1'; names must be unique")},
        Case{"UnnamedColumn", stop("no_name.csv"), 2,
             error("no_name.csv, line 1: column 2 has no name; every column needs one")},
        Case{"MoreCovariatesThanRows", with(stop("wide.csv"), {"--covariates", "a,b,c"}), 2,
             error("wide.csv: 3 rows for 3 covariates and an intercept; more rows are required")},
        Case{"CollinearCovariates", with(stop("collinear.csv"), {"--covariates", "a,b"}), 2,
             error("fixed effect 'b' is a linear combination of the fixed effects before it (the intercept "
                   "comes first): remove it")},
        Case{"ResponseAlsoCovariate", with(stop("good.csv"), {"--covariates", "y"}), 2,
             error("--covariates 'y': the column is already named in --target; it can have one role")},
        Case{"ResponseAlsoFeature", with(stop("good.csv"), {"--columns", "x1,y"}), 2,
             error("--columns 'y': the column is already named in --target; it can have one role")},
        Case{"AbsentTarget",
             {"stop", "good.csv", "--target", "why"},
             2,
             error("--target 'why': good.csv has no such column; did you mean 'y'?")},
        Case{"AbsentCovariate", with(stop("good.csv"), {"--covariates", "x3"}), 2,
             error("--covariates 'x3': good.csv has no such column; did you mean 'x1' or 'x2'?")},
        Case{"ColumnPositionTooLarge",
             {"stop", "good.csv", "--target", "#4"},
             2,
             error("--target '#4': good.csv has 3 columns; a position is one of #1 to #3")},
        Case{"Latin1Bytes", stop("latin1.csv"), 2,
             error("latin1.csv, line 3: the byte 0xE9 is not UTF-8; save the file as UTF-8 text")},
        Case{"NulByte", stop("nul.csv"), 2,
             error("nul.csv, line 2: a NUL byte; the file must be UTF-8 text")},
        Case{"BrokenGzip", stop("broken.csv.gz"), 2,
             error("broken.csv.gz: broken gzip data: the compressed data end early")}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Arrays, BadInput,
    testing::Values(Case{"LengthsDiffer",
                         {"stop", "--features", "X.npy", "--response", "y29.npy"},
                         2,
                         error("X.npy has 30 rows, but y29.npy has 29 values; they must be equal")},
                    Case{"TruncatedNpy",
                         {"stop", "--features", "X_truncated.npy", "--response", "y.npy"},
                         2,
                         error("X_truncated.npy: truncated: shape (30, 2) of 8-byte elements needs more than "
                               "the 472 bytes present")},
                    Case{"NpyOfObjects",
                         {"stop", "--features", "X.npy", "--response", "objects.npy"},
                         2,
                         error("objects.npy: an array of Python objects (a pickle), which is never loaded; "
                               "save it as a numeric array, e.g. with .astype('float64')")},
                    Case{"ResponseOfThreeDimensions",
                         {"stop", "--features", "X.npy", "--response", "y_cube.npy"},
                         2,
                         error("y_cube.npy has shape (30, 1, 1): must be a vector: (n,), (n, 1) or (1, n)")},
                    Case{"TextAsNpy",
                         {"stop", "--features", "good.csv", "--response", "y.npy"},
                         2,
                         error("good.csv: not an NPY file")},
                    Case{"NpzMemberNotNamed",
                         {"stop", "--features", "arrays.npz", "--response", "arrays.npz:y"},
                         2,
                         error("'arrays.npz' holds 2 arrays (X, y): name one, as arrays.npz:NAME")},
                    Case{"NpzMemberAbsent",
                         {"stop", "--features", "arrays.npz:Z", "--response", "arrays.npz:y"},
                         2,
                         error("'arrays.npz' has no array 'Z': it has X, y")}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Operators, BadInput,
    testing::Values(
        Case{"OperatorNotSquare",
             {"stop", "--response", "y.npy", "--operator", "H_wide.npy"},
             2,
             error("'H_wide.npy' has shape (20, 30): a training operator is square")},
        Case{"OperatorOfWrongSize",
             {"stop", "--response", "y.npy", "--operator", "H_small.npy"},
             2,
             error("'H_small.npy' is 20 x 20, and the data have 30 rows: they must agree")},
        Case{"OperatorNotSymmetric",
             {"stop", "--response", "y.npy", "--operator", "H_asymmetric.npy"},
             2,
             error("H_asymmetric.npy is not symmetric: entry (2, 1) is 0.08513442780805638 and entry (1, 2) "
                   "is 0.5851344278080564")},
        Case{"OperatorNotPositiveSemidefinite",
             {"stop", "--response", "y.npy", "--operator", "H_indefinite.npy"},
             2,
             error("H_indefinite.npy is not positive semidefinite: it has the eigenvalue -1.90692 beside its "
                   "largest, 2.07214; a training operator must have none below -1e-8 of the largest")},
        Case{"OperatorWithNan",
             {"stop", "--response", "y.npy", "--operator", "H_nan.npy"},
             2,
             error("H_nan.npy has the value nan in row 3, column 3: every entry must be finite")},
        Case{"WeightsOfWrongShape", with(array_options, {"--weights", "W_shape.npz"}), 2,
             error("weights 'W_shape.npz': array 'W1' has shape (1, 5): the layer before it has 4 outputs")},
        Case{"WeightsWithAGap", with(array_options, {"--weights", "W_gap.npz"}), 2,
             error("weights 'W_gap.npz': array 'b1' has no weights beside it; arrays must be named "
                   "W0, b0, "
                   "W1, b1, ... or 0.weight, 0.bias, 2.weight, ...")},
        Case{"WeightsForOtherFeatures", with(array_options, {"--weights", "W3.npz"}), 2,
             error("weights 'W3.npz' take 3 features, and the data have 2 (after encoding)")},
        Case{"WeightsDisagreeWithNetwork", with(array_options, {"--weights", "W.npz", "--network", "relu:5"}),
             2, error("weights 'W.npz' are those of the network 'relu:4': not of 'relu:5'")},
        Case{"WeightsFileAbsent", with(array_options, {"--weights", "none.npz"}), 2,
             error("cannot read 'none.npz': No such file or directory")},
        Case{"KernelUnknown", with(array_options, {"--kernel", "relu:2"}), 2,
             error("kernel 'relu:2': not three parts; write KIND:ACTIVATION:LAYERS with KIND ntk or nngp, "
                   "for example ntk:relu:2")},
        Case{"KernelTermUnknown", with(array_options, {"--kernel", "ntk:relu:2 + lnear"}), 2,
             error("kernel 'ntk:relu:2 + lnear': 'lnear' is no kernel; write a sum of networks, linear, rbf, "
                   "matern32 and matern52, with weights where they are not 1, for example ntk:relu:2 + "
                   "0.3*linear")},
        Case{"KernelWeightZero", with(array_options, {"--kernel", "0*rbf"}), 2,
             error("kernel '0*rbf': '0' is no weight, a finite number > 0; write a sum of networks, linear, "
                   "rbf, matern32 and matern52, with weights where they are not 1, for example ntk:relu:2 + "
                   "0.3*linear")},
        Case{"KernelWithoutNetworkAndSw2", with(array_options, {"--kernel", "rbf", "--sw2", "1"}), 2,
             error("--sw2 and --sb2 are of networks, and --kernel 'rbf' has none")},
        Case{"ActivationUnknown", with(array_options, {"--network", "swish:64"}), 2,
             error("network 'swish:64': activation 'swish' is unknown: must be one of relu, leaky-relu, "
                   "leaky-relu@SLOPE, abs, gelu, erf, tanh, sin, cos, identity; write "
                   "ACTIVATION:WIDTHxLAYERS or ACTIVATION:WIDTH-WIDTH-..., for example relu:128x2")},
        Case{
            "KernelOfAMatrix",
            {"kernel", "--response", "y.npy", "--operator", "H.npy", "-o", "out.npy"},
            2,
            error("--operator is a matrix already: gradflow kernel computes those of networks and kernels")}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Options, BadInput,
    testing::Values(
        Case{"NoCommand",
             {},
             2,
             usage("no command: test, stop, fit, train, predict, spectrum, kernel, simulate or report", "")},
        Case{"UnknownCommand",
             {"stopp", "good.csv"},
             2,
             usage("unknown command 'stopp': must be test, stop, fit, train, predict, spectrum, kernel, "
                   "simulate or "
                   "report",
                   "")},
        Case{"UnknownOption", with(stop("good.csv"), {"--tarqet", "y"}), 2,
             usage("unknown option --tarqet: did you mean --target?", "stop ")},
        Case{"UnknownFarOption", with(stop("good.csv"), {"--frobnicate"}), 2,
             usage("unknown option --frobnicate", "stop ")},
        Case{"UnexpectedArgument", with(stop("good.csv"), {"more.csv"}), 2,
             usage("unexpected argument 'more.csv'", "stop ")},
        Case{"OptionWithoutValue",
             {"stop", "good.csv", "--target"},
             2,
             usage("--target needs a value", "stop ")},
        Case{"OptionGivenTwice",
             {"stop", "good.csv", "--target", "y", "--target", "x1"},
             2,
             usage("--target is given more than once", "stop ")},
        Case{"NoData",
             {"stop"},
             2,
             error("no data: give a table DATA.csv with --target, or --features with --response")},
        Case{"NoTarget",
             {"stop", "good.csv"},
             2,
             error("--target is needed: the name of the response column in 'good.csv'")},
        Case{"TableAndArrays", with(stop("good.csv"), {"--features", "X.npy"}), 2,
             error("both a table ('good.csv') and --features or --response are given: the data are one or "
                   "the other")},
        Case{"FeaturesWithoutResponse",
             {"stop", "--features", "X.npy"},
             2,
             error("--features without --response: the response is needed")},
        Case{"TargetWithArrays", with(array_options, {"--target", "y"}), 2,
             error("--target names a column of a table; with --features the response is --response")},
        Case{"NetworkAndKernel", with(stop("good.csv"), {"--network", "relu:8", "--kernel", "ntk:relu:1"}), 2,
             error("--network and --kernel: give one, a finite network or an infinite-width kernel")},
        Case{"KernelAndWeights", with(stop("good.csv"), {"--kernel", "ntk:relu:1", "--weights", "W.npz"}), 2,
             error("--kernel and --weights: an infinite-width kernel has no weights")},
        Case{"OperatorAndNetwork", with(stop("good.csv"), {"--operator", "H.npy", "--network", "relu:8"}), 2,
             error("--operator and --network: give one, a matrix of your own or a network")},
        Case{"NoBiasWithoutNetwork", with(stop("good.csv"), {"--no-bias"}), 2,
             error("--no-bias is for finite networks: give --network too")},
        Case{"WeightVarianceOfStandardNetwork", with(stop("good.csv"), {"--network", "relu:8", "--sw2", "1"}),
             2, error("--sw2 and --sb2 need --parameterization ntk")},
        Case{"PaperWithCovariates", with(stop("good.csv"), {"--paper", "--covariates", "x1"}), 2,
             error("--paper and --covariates: the paper's method has no fixed effects")},
        Case{"NegativeLearningRate", with(stop("good.csv"), {"--learning-rate", "-1"}), 2,
             usage("--learning-rate -1: must be > 0", "stop ")},
        Case{"LearningRateNotANumber", with(stop("good.csv"), {"--learning-rate", "fast"}), 2,
             usage("--learning-rate fast: must be a number > 0", "stop ")},
        Case{"LevelTwo", with(stop("good.csv"), {"--level", "2"}), 2,
             usage("--level 2: must be between 0 and 1", "stop ")},
        Case{"ValidationFractionZero", with(stop("good.csv"), {"--validation-fraction", "0"}), 2,
             usage("--validation-fraction 0: must be between 0 and 1", "stop ")},
        Case{"SeedNegative", with(stop("good.csv"), {"--seed", "-3"}), 2,
             usage("--seed -3: must be a whole number >= 0", "stop ")},
        Case{"RuleUnknown", with(stop("good.csv"), {"--rule", "aic"}), 2,
             error("rule 'aic' is not known on path 'flow': must be expected-loo, reml-risk, reml-flow, gcv, "
                   "loo or "
                   "validation")},
        Case{"RuleOfAnotherPath", with(stop("good.csv"), {"--rule", "reml-flow", "--path", "ridge"}), 2,
             error("rule 'reml-flow' is not known on path 'ridge': must be expected-loo, reml-risk, "
                   "reml-ridge, gcv, loo "
                   "or validation")},
        Case{"PathUnknown", with(stop("good.csv"), {"--path", "sgd"}), 2,
             error("path 'sgd' is not known: must be flow, ridge, decay, descent or implicit")},
        Case{"DescentWithoutLearningRate", with(stop("good.csv"), {"--path", "descent"}), 2,
             error("--path descent needs --learning-rate, the size of its steps")},
        Case{"DescentWithTooLargeSteps",
             with(stop("good.csv"), {"--path", "descent", "--learning-rate", "100"}), 2,
             error("path 'descent' needs 0 < learning rate x largest eigenvalue < 1, but 100 x 1.64774 = "
                   "164.774: give --learning-rate a positive value below 0.606891")},
        Case{"DecayRateWithoutDecay", with(stop("good.csv"), {"--decay-rate", "1"}), 2,
             error("--decay-rate is for --path decay, and the path is 'flow'")},
        Case{"PolicyUnknown", with(stop("good.csv"), {"--missing", "guess"}), 2,
             error("--missing guess: must be drop, error or mean")},
        Case{"StandardizeUnknown", with(stop("good.csv"), {"--standardize", "all"}), 2,
             error("--standardize all: must be both, features or none")},
        Case{"LossUnknown", with(stop("good.csv"), {"--loss", "l1"}), 2,
             error("--loss l1: must be half-mse or mse")}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Outputs, BadInput,
    testing::Values(
        Case{"OutputIsADirectory",
             {"fit", "good.csv", "--target", "y", "-o", "."},
             2,
             error("cannot write '.': Is a directory")},
        Case{"OutputFolderAbsent",
             {"fit", "good.csv", "--target", "y", "-o", "no/where.model"},
             2,
             error("cannot write 'no/where.model': No such file or directory")},
        Case{"OutputFolderIsAFile",
             {"fit", "good.csv", "--target", "y", "-o", "not_a_folder/m.model"},
             2,
             error("cannot write 'not_a_folder/m.model': Not a directory")},
        Case{"OutputMissing", {"fit", "good.csv", "--target", "y"}, 2, usage("-o FILE is required", "fit ")},
        Case{"NoSpaceLeft",
             {"fit", "good.csv", "--target", "y", "--quiet", "-o", "/dev/full"},
             2,
             error("cannot write '/dev/full': No space left on device")},
        Case{"NoSpaceLeftForJson", with(stop("good.csv"), {"--quiet", "--json", "/dev/full"}), 2,
             error("cannot write '/dev/full': No space left on device")},
        Case{"OutputIsAnInput",
             {"fit", "good.csv", "--target", "y", "-o", "good.csv"},
             2,
             error("the output 'good.csv' is one of the inputs")},
        Case{"OutputsAreTheSame",
             {"fit", "good.csv", "--target", "y", "-o", "m.model", "--json", "m.model"},
             2,
             error("-o and --json name the same file, 'm.model'")}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Models, BadInput,
    testing::Values(
        Case{"ModelIsATable",
             {"predict", "good.csv", "new_good.csv"},
             2,
             error("good.csv is not a gradflow model, or a damaged one (not a usable safetensors file: its "
                   "header length 754683007837417848 exceeds the limit of 100000000 bytes)")},
        Case{"ModelAbsent",
             {"predict", "absent.model", "new_good.csv"},
             2,
             error("cannot read 'absent.model': No such file or directory")},
        Case{"ModelTruncated",
             {"predict", "truncated.model", "new_good.csv"},
             2,
             error("truncated.model is not a gradflow model, or a damaged one (not a usable safetensors "
                   "file: its header of 1856 bytes ends beyond the file of 1536 bytes)")},
        Case{"ModelOfFiveBytes",
             {"predict", "stub.model", "new_good.csv"},
             2,
             error("stub.model is not a gradflow model, or a damaged one (not a usable safetensors file: 5 "
                   "bytes are too few)")},
        Case{"ModelOfANewerVersion",
             {"predict", "newer.model", "new_good.csv"},
             2,
             error("newer.model was written by gradflow 9.1, format 10; this program reads up to format 9: "
                   "update gradflow")},
        Case{"SafetensorsWithoutModel",
             {"predict", "plain.safetensors", "new_good.csv"},
             2,
             error("plain.safetensors: a safetensors file, but not a gradflow model (gradflow fit writes "
                   "those)")},
        Case{"ModelWithoutAlpha",
             {"predict", "no_alpha.model", "new_good.csv"},
             2,
             error("no_alpha.model: damaged gradflow model: tensor 'alpha' is missing")},
        Case{"ModelWithWrongBeta",
             {"predict", "short_beta.model", "new_good.csv"},
             2,
             error("short_beta.model: damaged gradflow model: tensor 'beta' has length 3, not 1")},
        Case{"ModelWithNan",
             {"predict", "nan.model", "new_good.csv"},
             2,
             error("nan.model: damaged gradflow model: tensor 'alpha' has the value nan")},
        Case{"ModelWithBrokenJson",
             {"predict", "json.model", "new_good.csv"},
             2,
             error("json.model: damaged gradflow model: its description is not valid JSON")},
        Case{"ModelWithoutPath",
             {"predict", "no_path.model", "new_good.csv"},
             2,
             error("no_path.model: damaged gradflow model: field 'path' must be present")},
        Case{"NewRowsMissing",
             {"predict", "good.model"},
             2,
             error("no new rows: give a table NEW.csv or --features NEW.npy")},
        Case{"NewRowsWithoutAColumn",
             {"predict", "good.model", "no_x2.csv"},
             2,
             error("no_x2.csv: column 'x2' is absent, and the model needs it")},
        Case{"NewRowsWithText",
             {"predict", "good.model", "new_text.csv"},
             2,
             error("new_text.csv, line 3, column 'x2': 'many' is not a number; the column held numbers in "
                   "training")},
        Case{"ArrayForAModelOfATable",
             {"predict", "good.model", "--features", "X3.npy"},
             2,
             error("X3.npy: the model was fitted to a table with named columns (x1, x2, y), so new rows must "
                   "be a table with these columns")},
        Case{"NewRowsOfOtherWidth",
             {"predict", "arrays.model", "--features", "X3.npy"},
             2,
             error("X3.npy has 3 columns, and the model was fitted to 2")},
        Case{"MatrixModelWithoutCross",
             {"predict", "H.model"},
             2,
             error("no new rows: a model of --operator needs --cross")},
        Case{"CrossOfWrongSize",
             {"predict", "H.model", "--cross", "C_small.npy"},
             2,
             error("the cross matrix is 5 x 29: must be 5 x 30, new rows by training rows")},
        Case{"CrossForAKernelModel",
             {"predict", "good.model", "new_good.csv", "--cross", "C_small.npy"},
             2,
             error("a cross matrix is only for models of a user's operator; this model has its own kernel")}),
    case_name);

}  // namespace
}  // namespace gradflow::cli_test
