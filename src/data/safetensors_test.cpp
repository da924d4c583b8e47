#include "gradflow/data/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "data/scalar_type.h"
#include "data/test_support.h"

namespace gradflow {
namespace {

using namespace std::string_literals;

std::string safetensors(const std::string& header, const std::string& data = "") {
  return little_endian_bytes(header.size(), 8) + header + data;
}

TEST(WriteSafetensors, ReadsBackBitForBitWithAlignedHeader) {
  const std::string path = testing::TempDir() + "gradflow_round_trip.safetensors";
  TensorFile file;
  file.tensors["W"] = {{2, 3}, {0.1, -0.0, 1e300, -1e-300, 3.0, 4.0}};
  file.tensors["empty"] = {{0, 7}, {}};
  file.tensors["scalar"] = {{}, {std::sqrt(2.0)}};
  file.metadata = {{"format", "gradflow"}, {"text", "quote \" and \xC3\xA9 and\nline"}};
  write_safetensors(path, file);
  const std::string bytes = file_contents(path);
  const TensorFile read = read_safetensors(path);
  std::filesystem::remove(path);

  EXPECT_EQ(little_endian(bytes, 8) % 8, 0U);
  EXPECT_EQ(bytes.size(), 8 + little_endian(bytes, 8) + 7 * sizeof(double));
  EXPECT_EQ(read.metadata, file.metadata);
  ASSERT_EQ(read.tensors.size(), 3U);
  for (const auto& [name, tensor] : file.tensors) {
    EXPECT_EQ(read.tensors.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(read.tensors.at(name).values, tensor.values) << name;
  }
}

TEST(WriteSafetensors, RefusesWhatTheFormatCannotHold) {
  TensorFile wrong_shape, reserved, not_text;
  wrong_shape.tensors["W"] = {{2}, {1.0}};
  reserved.tensors["__metadata__"] = {{}, {1.0}};
  not_text.metadata["k"] = "\xFF";
  const std::string path = testing::TempDir() + "gradflow_never.safetensors";

  EXPECT_EQ(message_of([&] { write_safetensors(path, wrong_shape); }),
            "tensor 'W' has shape (2,) and 1 values");
  EXPECT_EQ(message_of([&] { write_safetensors(path, reserved); }),
            "a tensor may not be named '__metadata__'");
  EXPECT_EQ(message_of([&] { write_safetensors(path, not_text); }),
            path + ": a tensor's name or the metadata are not UTF-8 text");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ParseSafetensors, ReadsEveryElementType) {
  const TensorFile file =
      parse_safetensors(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                    R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},)"
                                    R"("c":{"dtype":"F16","shape":[1],"data_offsets":[6,8]},)"
                                    R"("d":{"dtype":"I8","shape":[1],"data_offsets":[8,9]},)"
                                    R"("e":{"dtype":"BOOL","shape":[1],"data_offsets":[9,10]}}   )",
                                    "\x00\x00\xC0\xBF\xC0\x3F\x00\x3C\xFF\x01"s),
                        "f.safetensors");

  EXPECT_EQ(file.tensors.at("a").values, std::vector<double>{-1.5});
  EXPECT_EQ(file.tensors.at("b").values, std::vector<double>{1.5});
  EXPECT_EQ(file.tensors.at("c").values, std::vector<double>{1.0});
  EXPECT_EQ(file.tensors.at("d").values, std::vector<double>{-1.0});
  EXPECT_EQ(file.tensors.at("e").values, std::vector<double>{1.0});
}

TEST(ParseSafetensors, NamesWhatIsWrong) {
  const auto one = [](const std::string& fields) {
    return safetensors("{\"W\":{" + fields + "}}", "12345678");
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"short", "5 bytes are too few"},
      {little_endian_bytes(100, 8) + "{}", "its header of 100 bytes ends beyond the file of 10 bytes"},
      {little_endian_bytes(1ULL << 60, 8) + "{}",
       "its header length 1152921504606846976 exceeds the limit of 100000000 bytes"},
      {safetensors("[]"), "its header does not begin with '{'"},
      {safetensors("{\"W\":"), "its header is not valid JSON"},
      {safetensors("{} x"), "its header is not valid JSON"},
      {safetensors("{\"W\":1}"), "tensor 'W' is not described by an object"},
      {safetensors(R"({"__metadata__":[]})"), "'__metadata__' must be an object"},
      {safetensors(R"({"__metadata__":{"k":1}})"), "the metadata 'k' must be a string"},
      {one(R"("shape":[1],"data_offsets":[0,8])"), "tensor 'W' has no dtype"},
      {one(R"("dtype":"C64","shape":[1],"data_offsets":[0,8])"), "tensor 'W' has the unknown dtype 'C64'"},
      {one(R"("dtype":"F64","data_offsets":[0,8])"), "'shape' of tensor 'W' must be an array"},
      {one(R"("dtype":"F64","shape":[-1],"data_offsets":[0,8])"),
       "'shape' of tensor 'W' must hold nonnegative integers"},
      {one(R"("dtype":"F64","shape":[1],"data_offsets":[8,0])"),
       "'data_offsets' of tensor 'W' must be [begin, end]"},
      {one(R"("dtype":"F64","shape":[1],"data_offsets":[0,16])"),
       "tensor 'W' ends at byte 16 of 8 bytes of data"},
      {one(R"("dtype":"F64","shape":[2],"data_offsets":[0,8])"),
       "tensor 'W' of shape (2,) has 8 bytes of data"},
      {one(R"("dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,8])"),
       "tensor 'W' of shape (4294967296, 4294967296) has 8 bytes of data"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"),
       "bytes 4 to 8 of the data belong to no tensor"},
      {one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"),
       "bytes 0 to 4 of the data belong to no tensor"},
      {safetensors(R"({"V":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                   R"("W":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                   "123456"),
       "tensor 'W' overlaps another"},
      {safetensors(R"({"W":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                   R"("W":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                   "1234"),
       "the name 'W' occurs twice"},
  };
  for (const auto& [bytes, reason] : cases)
    EXPECT_EQ(message_of([&, b = bytes] { parse_safetensors(b, "f.st"); }),
              "f.st: not a usable safetensors file: " + reason);
}

TEST(ParseSafetensors, EveryTruncationIsRefused) {
  const std::string bytes = safetensors(
      R"({"W":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"__metadata__":{"k":"v"}} )", "12345678");
  ASSERT_EQ(parse_safetensors(bytes, "f.st").tensors.size(), 1U);

  expect_every_truncation_is_refused(bytes,
                                     [](std::string_view prefix) { parse_safetensors(prefix, "f.st"); });
}

TEST(ParseSafetensors, DeeplyNestedJsonIsRefusedWithoutExhaustingTheStack) {
  const std::string deep = "{\"W\":" + std::string(1 << 20, '[');

  EXPECT_EQ(message_of([&] { parse_safetensors(safetensors(deep), "f.st"); }),
            "f.st: not a usable safetensors file: its header is not valid JSON");
}

}  // namespace
}  // namespace gradflow
