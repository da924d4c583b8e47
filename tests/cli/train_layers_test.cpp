// gradflow train for networks of layers, on a table and on images.
#include <algorithm>
#include <cmath>
#include <csignal>

#include "cli/process.h"
#include "cli/train_program.h"
#include "gradflow/base/random.h"
#include "gradflow/data/table.h"

namespace gradflow::cli_test {
namespace {

constexpr const char* residual = "dense:12 layernorm:affine relu res(dense:6 tanh dense:12) dense:1";
constexpr const char* convolutional =
    "conv2d:4:3 layernorm:affine gelu res(conv2d:4:3 relu) leaky-relu@0.2 avgpool dense:1";

// Reads a state_dict and names the modules that gradflow's layers stand for.
constexpr const char* layers_module = R"(
import csv, json, struct, numpy, torch
from torch.nn import *

def state(path):
    raw = open(path, 'rb').read()
    size = struct.unpack('<Q', raw[:8])[0]
    header = json.loads(raw[8:8 + size]); header.pop('__metadata__')
    tensors = {}
    for name, t in header.items():
        begin, end = t['data_offsets']
        values = struct.unpack('<%dd' % ((end - begin) // 8), raw[8 + size + begin:8 + size + end])
        tensors[name] = torch.tensor(values, dtype=torch.float64).reshape(t['shape'])
    return tensors

class Residual(Module):
    def __init__(self, *layers):
        super().__init__()
        self.block = Sequential(*layers)
    def forward(self, a):
        return a + self.block(a)

class ChannelNorm(LayerNorm):
    def forward(self, a):
        return super().forward(a.movedim(1, -1)).movedim(-1, 1)

class Mean(Module):
    def forward(self, a):
        return a.mean((2, 3))

def table():
    return numpy.array([[float(r['x1']), float(r['x2'])] for r in csv.DictReader(open('data.csv'))])

def predictions():
    return numpy.array([float(r['mean']) for r in csv.DictReader(open('p.csv'))])

def compare(f):
    p = predictions()
    worst = (abs(f - p) / (1 + abs(p))).max()
    raise SystemExit(0 if worst < 1e-5 else 'worst %g' % worst)
)";

/// Beside the table, 60 images 1 x 8 x 8: a wave of random height and place in noise, y its height.
class TrainLayersProgram : public TrainProgram {
 protected:
  void SetUp() override {
    TrainProgram::SetUp();
    RandomStream random(1, "waves");
    Matrix X = 0.2 * random.normals(images, 64);
    y_ = random.normals(images);
    for (Index i = 0; i < images; ++i) {
      const double place = 8.0 * random.uniform();
      for (Index k = 0; k < 64; ++k)
        X(i, k) += 5.0 + y_(i) * (1.0 + std::sin(0.8 * (static_cast<double>(k % 8) - place)));
    }
    const Matrix rows = X.transpose();
    folder.write("X.npy", npy_bytes({images, 1, 8, 8}, {rows.data(), rows.data() + rows.size()}));
    folder.write("y.npy", npy_bytes_vector(y_));
    folder.write("layers.py", layers_module);
  }

  ProgramResult run_images(const Words& arguments) const {
    return run_program(folder.path(),
                       with({"train", "--features", "X.npy", "--response", "y.npy"}, arguments));
  }
  Vector predicted(const Words& rows) const {
    const ProgramResult result =
        run_program(folder.path(), with(with({"predict", "w.safetensors"}, rows), {"-o", "p.csv"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const Table table = read_table(folder / "p.csv");
    Vector mean(table.rows());
    for (Index i = 0; i < mean.size(); ++i) mean(i) = std::stod(table.cell(i, 1));
    return mean;
  }
  // The loss that the report gives: half the mean square in standard deviations of the response.
  void expect_loss_of(const Vector& errors) const {
    const auto report = json("run.json");
    const double scale = report["response_scale"];
    EXPECT_NEAR(0.5 * errors.squaredNorm() / static_cast<double>(errors.size()) / (scale * scale),
                report["training"]["loss"].get<double>(), 1e-10);
  }
  Vector table_response() const {
    const Table data = read_table(folder / "data.csv");
    Vector y(data.rows());
    for (Index i = 0; i < y.size(); ++i) y(i) = std::stod(data.cell(i, 2));
    return y;
  }

  static constexpr Index images = 60;
  Vector y_;
};

TEST_F(TrainLayersProgram, TrainsAResidualNetworkOnATableAndPredictsItsFittedValues) {
  for (const Words& center : {Words{}, Words{"--center", "zero-last-layer"}}) {
    const ProgramResult result = run(with({"--network", residual, "--lr", "0.02", "--stop", "follow-gcv",
                                           "--max-steps", "300", "-o", "w.safetensors", "--json", "run.json"},
                                          center));

    ASSERT_TRUE(folder.exists("w.safetensors")) << result.err;
    expect_loss_of(table_response() - predicted({"data.csv"}));
    EXPECT_EQ(json("run.json")["network"]["text"], "input:2 " + std::string(residual));
    EXPECT_FALSE(json("run.json")["watch"].empty());
  }
}

TEST_F(TrainLayersProgram, TrainsAConvolutionalNetworkOnImagesAndFindsThePlantedWave) {
  const ProgramResult result = run_images({"--network", convolutional, "--stop", "reml-risk", "--max-steps",
                                           "400", "-o", "w.safetensors", "--json", "run.json"});

  // With little noise the rule may want more steps, which is an outcome.
  ASSERT_TRUE(folder.exists("w.safetensors")) << result.err;
  EXPECT_NE(result.out.find("Module 0, conv2d:1:1, standardises the features"), std::string::npos)
      << result.out;
  const Vector errors = y_ - predicted({"--features", "X.npy"});
  expect_loss_of(errors);
  EXPECT_LT(errors.squaredNorm(), 0.2 * y_.squaredNorm());
}

TEST_F(TrainLayersProgram, TwoCopiesBecomeOneNetworkOfTwiceTheChannels) {
  const ProgramResult result = run_images(
      {"--network", "conv2d:3:3 relu res(conv2d:3:3 tanh) flatten dense:4 relu dense:1", "--center", "copies",
       "--standardize", "none", "--steps", "20", "-o", "w.safetensors", "--json", "run.json"});

  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_loss_of(y_ - predicted({"--features", "X.npy"}));
}

TEST_F(TrainLayersProgram, WritesTheSameBytesForOneAndTwoThreads) {
  for (const char* threads : {"1", "2"})
    run_images({"--network", convolutional, "--optimizer", "adam", "--batch", "16", "--steps", "30",
                "--threads", threads, "-o", fmt::format("w{}.safetensors", threads)});

  ASSERT_TRUE(folder.exists("w1.safetensors"));
  EXPECT_TRUE(folder.read("w1.safetensors") == folder.read("w2.safetensors"));
}

TEST_F(TrainLayersProgram, KilledItGoesOnToTheSameWeights) {
  const auto words = [](const char* output) {
    return Words{"train",
                 "data.csv",
                 "--target",
                 "y",
                 "--network",
                 residual,
                 "--optimizer",
                 "adam",
                 "--batch",
                 "16",
                 "--steps",
                 "4000",
                 "--lr",
                 "1e-4",
                 "--checkpoint",
                 "run.checkpoint",
                 "--checkpoint-seconds",
                 "0.02",
                 "-o",
                 output};
  };
  ASSERT_EQ(run_program(folder.path(), words("whole")).exit_code, 0);
  Process process(folder.path(), words("resumed"));
  ASSERT_TRUE(process.has_written(folder / "run.checkpoint", 1000.0)) << process.wait().err;
  process.send(SIGKILL);
  process.wait();

  const ProgramResult resumed = run_program(folder.path(), words("resumed"));

  EXPECT_NE(resumed.out.find("Resumed at step"), std::string::npos) << resumed.out;
  EXPECT_TRUE(folder.read("whole") == folder.read("resumed"));
}

TEST_F(TrainLayersProgram, ItsWeightsLoadIntoThePyTorchModule) {
  if (!has_module("torch")) GTEST_SKIP() << "no PyTorch for " << python;
  ASSERT_EQ(run({"--network", residual, "--steps", "40", "-o", "w.safetensors"}).exit_code, 0);
  predicted({"data.csv"});
  EXPECT_EQ(run_python(R"(
from layers import *
model = Sequential(Linear(2, 12), LayerNorm(12), ReLU(), Residual(Linear(12, 6), Tanh(), Linear(6, 12)),
                   Linear(12, 1)).double()
model.load_state_dict(state('w.safetensors'))
compare(model(torch.tensor(table())).detach().numpy().ravel())
)"),
            0);

  ASSERT_EQ(run_images({"--network", convolutional, "--steps", "40", "-o", "w.safetensors"}).exit_code, 0);
  predicted({"--features", "X.npy"});
  EXPECT_EQ(run_python(R"(
from layers import *
model = Sequential(Conv2d(1, 1, 1), Conv2d(1, 4, 3, padding=1), ChannelNorm(4), GELU(),
                   Residual(Conv2d(4, 4, 3, padding=1), ReLU()), LeakyReLU(0.2), Mean(), Linear(4, 1)).double()
model.load_state_dict(state('w.safetensors'))
compare(model(torch.tensor(numpy.load('X.npy'))).detach().numpy().ravel())
)"),
            0);
}

TEST_F(TrainLayersProgram, ItsOnnxFilePredictsTheSameInARuntime) {
  if (!has_module("onnxruntime")) GTEST_SKIP() << "no onnxruntime for " << python;
  for (const char* network : {residual, "layernorm relu dense:5 sin dense:1",
                              "input:1x2 conv1d:3:3 erf layernorm avgpool dense:1"}) {
    ASSERT_EQ(
        run({"--network", network, "--steps", "40", "-o", "w.safetensors", "--onnx", "w.onnx"}).exit_code, 0);
    predicted({"data.csv"});
    EXPECT_EQ(run_python(R"(
from layers import *
import onnxruntime
session = onnxruntime.InferenceSession('w.onnx', providers=['CPUExecutionProvider'])
X = table().astype(numpy.float32)
shape = [len(X)] + session.get_inputs()[0].shape[1:]
compare(session.run(['response'], {'features': X.reshape(shape)})[0].ravel())
)"),
              0)
        << network;
  }
  for (const char* network :
       {convolutional, "conv2d:3:3:2:2 tanh flatten dense:6 abs res(dense:6) dense:1"}) {
    ASSERT_EQ(run_images({"--network", network, "--steps", "40", "-o", "w.safetensors", "--onnx", "w.onnx"})
                  .exit_code,
              0);
    predicted({"--features", "X.npy"});
    EXPECT_EQ(run_python(R"(
from layers import *
import onnxruntime
session = onnxruntime.InferenceSession('w.onnx', providers=['CPUExecutionProvider'])
X = numpy.load('X.npy').astype(numpy.float32)
compare(session.run(['response'], {'features': X})[0].ravel())
)"),
              0)
        << network;
  }
}

// The sign of the wave's height, which the mean of the image shows.
TEST_F(TrainLayersProgram, ClassesOfImagesAreLearnedAndTheirOnnxFileAgrees) {
  folder.write("sign.npy", npy_bytes_vector((y_.array() > 0.0).cast<double>().matrix()));
  const ProgramResult result = run_program(
      folder.path(), {"train", "--features", "X.npy", "--response", "sign.npy", "--classes", "--network",
                      "conv2d:4:3 relu res(conv2d:4:3) avgpool dense:2", "--optimizer", "adam", "--lr",
                      "0.01", "--steps", "300", "-o", "w.safetensors", "--onnx", "w.onnx"});

  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("Module 0, conv2d:1:1, standardises the features"), std::string::npos)
      << result.out;
  ASSERT_EQ(run_program(folder.path(), {"predict", "w.safetensors", "--features", "X.npy", "-o", "p.csv"})
                .exit_code,
            0);
  const Table rows = read_table(folder / "p.csv");
  double right = 0.0;
  for (Index i = 0; i < images; ++i) right += (rows.cell(i, 1) == "1") == (y_(i) > 0.0) ? 1.0 : 0.0;
  EXPECT_GT(right / static_cast<double>(images), 0.9);
  if (!has_module("onnxruntime")) GTEST_SKIP() << "no onnxruntime for " << python;
  EXPECT_EQ(run_python(R"(
import csv, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession('w.onnx', providers=['CPUExecutionProvider'])
f = session.run(['logits'], {'features': numpy.load('X.npy').astype(numpy.float32)})[0]
p = numpy.exp(f - f.max(1, keepdims=True)); p /= p.sum(1, keepdims=True)
given = numpy.array([[float(r[c]) for c in ('p_0', 'p_1')] for r in csv.DictReader(open('p.csv'))])
worst = abs(p - given).max()
sys.exit(0 if worst < 1e-5 else 'worst %g' % worst)
)"),
            0);
}

TEST_F(TrainLayersProgram, NamesWhatDoesNotFit) {
  const std::pair<Words, const char*> cases[] = {
      {{"--network", residual, "--precision", "float32"}, "--precision float32 is for dense networks: "},
      {{"--network", residual, "--center", "copies", "-o", "w"},
       "are no one network of layers, as layernorm:affine would act on both: take centring zero-last-layer"},
      {{"--network", "conv2d:4:3 avgpool dense:1"},
       "it takes channels x height x width, given by input:CxHxW"},
      {{"--network", "dense:4 relu"}, "last layer = relu: must be dense:1"}};
  for (const auto& [arguments, message] : cases) {
    const ProgramResult result = run(arguments);

    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
    EXPECT_FALSE(folder.exists("w"));
  }
}

}  // namespace
}  // namespace gradflow::cli_test
