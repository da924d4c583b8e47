#include "cli/bad_input_files.h"

#include <gtest/gtest.h>

#include <limits>

#include "gradflow/data/safetensors.h"

namespace gradflow::cli_test {
namespace {

void write_tables(const TemporaryFolder& folder) {
  const SmallData data = small_data(30);
  const std::string good = csv_of(data);
  folder.write("good.csv", good);
  folder.write("empty.csv", "");
  folder.write("header.csv", "x1,x2,y\n");
  folder.write("one.csv", "x1,x2,y\n1,2,3\n");
  folder.write("ragged.csv", "x1,x2,y\n1,2,3\n4,5\n7,8,9\n");
  folder.write("quote.csv", "x1,x2,y\n1,2,3\n\"4,5,6\n7,8,9\n");
  folder.write("text.csv", "x1,x2,y\n1,2,3\n4,five,6\n7,8,9\n");
  folder.write("text_y.csv", "x1,x2,y\n1,2,3\n4,5,six\n7,8,9\n");
  folder.write("inf.csv", "x1,x2,y\n1,2,3\n4,inf,6\n7,8,9\n");
  folder.write("huge.csv", "x1,x2,y\n1,2,3\n4,1e300,6\n7,8,9\n");
  folder.write("all_missing.csv", "x1,x2,y\n1,NA,3\n4,NA,6\n7,NA,9\n");
  folder.write("missing.csv", "x1,x2,y\n1,2,3\n4,NA,6\n7,8,9\n2,3,4\n");
  folder.write("constant_y.csv", "x1,x2,y\n1,2,3\n4,5,3\n7,1,3\n");
  folder.write("constant_x.csv", "x1,x2,y\n1,2,3\n1,2,6\n1,2,9\n");
  folder.write("same_names.csv", "x1,x1,y\n1,2,3\n4,5,6\n");
  folder.write("no_name.csv", "x1,,y\n1,2,3\n4,5,6\n");
  folder.write("wide.csv", "a,b,c,x,y\n1,2,3,1,2\n4,5,7,2,3\n7,8,8,5,5\n");
  folder.write("collinear.csv", "a,b,x,y\n1,2,1,2\n2,4,2,3\n3,6,5,5\n4,8,1,2\n5,10,3,3\n");
  folder.write("latin1.csv", "x1,x2,y\n1,2,3\n4,\xe9,6\n");
  folder.write("nul.csv", std::string("x1,x2,y\n1,\0,3\n", 15));
  folder.write_gzip("good.csv.gz", good);
  folder.write("broken.csv.gz", folder.read("good.csv.gz").substr(0, 200));
  folder.write("no_x2.csv", "x1,z\n1,2\n3,4\n");
  folder.write("new_text.csv", "x1,x2\n1,2\n3,many\n");
  folder.write("new_good.csv", "x1,x2\n1,2\n");
}

void write_arrays(const TemporaryFolder& folder) {
  const SmallData data = small_data(30);
  const std::string X = npy_bytes(data.X), y = npy_bytes_vector(data.y);
  folder.write("X.npy", X);
  folder.write("y.npy", y);
  folder.write("y29.npy", npy_bytes_vector(data.y.head(29)));
  folder.write("X_truncated.npy", X.substr(0, X.size() - 8));
  folder.write("y_cube.npy", npy_bytes({30, 1, 1}, {data.y.begin(), data.y.end()}));
  std::string objects("\x93NUMPY\x01\0\x36\0", 10);
  objects += "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}";
  folder.write("objects.npy", objects);
  folder.write("arrays.npz", npz_bytes({{"X", X}, {"y", y}}));
  folder.write("X3.npy", npy_bytes(Matrix::Random(5, 3)));

  Matrix H = data.X * data.X.transpose() / 30.0 + 0.1 * Matrix::Identity(30, 30);
  folder.write("H.npy", npy_bytes(H));
  folder.write("H_wide.npy", npy_bytes(H.topRows(20)));
  folder.write("H_small.npy", npy_bytes(H.topLeftCorner(20, 20)));
  Matrix asymmetric = H;
  asymmetric(0, 1) += 0.5;
  folder.write("H_asymmetric.npy", npy_bytes(asymmetric));
  Matrix indefinite = H;
  indefinite.diagonal().array() -= 0.05;
  indefinite(3, 4) += 2.0;
  indefinite(4, 3) += 2.0;
  folder.write("H_indefinite.npy", npy_bytes(indefinite));
  Matrix with_nan = H;
  with_nan(2, 2) = std::numeric_limits<double>::quiet_NaN();
  folder.write("H_nan.npy", npy_bytes(with_nan));
  folder.write("H_identity.npy", npy_bytes(Matrix::Identity(30, 30)));
  folder.write("C_small.npy", npy_bytes(Matrix::Random(5, 29)));

  const std::string W0 = npy_bytes(Matrix::Random(4, 2)), b0 = npy_bytes_vector(Vector::Random(4));
  const std::string W1 = npy_bytes(Matrix::Random(1, 4)), b1 = npy_bytes_vector(Vector::Random(1));
  folder.write("W.npz", npz_bytes({{"W0", W0}, {"b0", b0}, {"W1", W1}, {"b1", b1}}));
  folder.write("W_shape.npz",
               npz_bytes({{"W0", W0}, {"b0", b0}, {"W1", npy_bytes(Matrix::Random(1, 5))}, {"b1", b1}}));
  folder.write("W_gap.npz", npz_bytes({{"W0", W0}, {"b0", b0}, {"b1", b1}}));
  folder.write("W3.npz", npz_bytes({{"W0", npy_bytes(Matrix::Random(4, 3))}, {"W1", W1}}));
}

void write_models(const TemporaryFolder& folder) {
  ASSERT_EQ(run_program(folder.path(), {"fit", "good.csv", "--target", "y", "-o", "good.model"}).exit_code,
            0);
  // Without its run, whose length varies with the numbers in it.
  TensorFile lean = read_safetensors(folder / "good.model");
  lean.metadata.erase("gradflow_run");
  write_safetensors(folder / "good.model", lean);
  const std::string bytes = folder.read("good.model");
  // The header's length varies with the digits of the numbers in it, that is with the processor: here 1856.
  folder.write("truncated.model", std::string("\x40\x07\0\0\0\0\0\0", 8) + bytes.substr(8, 1536 - 8));
  folder.write("stub.model", bytes.substr(0, 5));
  const TensorFile& good = lean;
  const auto variant = [&](const std::string& name, auto change) {
    TensorFile file = good;
    change(file);
    write_safetensors(folder / name, file);
  };
  const auto rewrite = [](TensorFile& file, const std::string& from, const std::string& to) {
    std::string& text = file.metadata["gradflow_model"];
    text.replace(text.find(from), from.size(), to);
  };
  variant("newer.model", [&](TensorFile& file) {
    rewrite(file, "\"format_version\":1", "\"format_version\":10");
    rewrite(file, "\"gradflow_version\":\"0.1.0\"", "\"gradflow_version\":\"9.1\"");
  });
  variant("plain.safetensors", [](TensorFile& file) { file.metadata.clear(); });
  variant("no_alpha.model", [](TensorFile& file) { file.tensors.erase("alpha"); });
  variant("short_beta.model", [](TensorFile& file) { file.tensors["beta"] = {{3}, {1.0, 2.0, 3.0}}; });
  variant("nan.model", [](TensorFile& file) {
    file.tensors["alpha"].values[0] = std::numeric_limits<double>::quiet_NaN();
  });
  variant("json.model", [&](TensorFile& file) { file.metadata["gradflow_model"] = std::string("{"); });
  variant("no_path.model", [&](TensorFile& file) { rewrite(file, "\"path\":", "\"road\":"); });
  ASSERT_EQ(
      run_program(folder.path(), {"fit", "--features", "X.npy", "--response", "y.npy", "-o", "arrays.model"})
          .exit_code,
      0);
  ASSERT_EQ(run_program(folder.path(), {"fit", "--response", "y.npy", "--operator", "H.npy", "-o", "H.model"})
                .exit_code,
            0);
}

}  // namespace

void write_bad_input_files(const TemporaryFolder& folder) {
  write_tables(folder);
  write_arrays(folder);
  write_models(folder);
  folder.write("not_a_folder", "x");
  folder.write("notes.txt", "no checkpoint\n");
}

}  // namespace gradflow::cli_test
