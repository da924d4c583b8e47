#include "gradflow/data/array_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "data/scalar_type.h"
#include "data/test_support.h"

namespace gradflow {
namespace {

using namespace std::string_literals;

std::string npy(const std::string& header, const std::string& data, int version = 1) {
  const std::size_t width = version == 1 ? 2 : 4;
  return "\x93NUMPY"s + static_cast<char>(version) + '\0' + little_endian_bytes(header.size(), width) +
         header + data;
}

std::string npy_of(const std::string& dtype, const std::string& shape, const std::string& data,
                   const std::string& fortran = "False") {
  return npy("{'descr': '" + dtype + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n",
             data);
}

std::string reversed(std::string bytes) { return {bytes.rbegin(), bytes.rend()}; }

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name) : path(testing::TempDir() + "gradflow_" + name) {}
  ~TemporaryFile() { std::filesystem::remove(path); }
  const std::string path;
};

TEST(ReadNpy, DecodesEveryElementType) {
  struct Case {
    std::string dtype, bytes;
    double value;
  };
  const double pi = 3.141592653589793;
  const std::vector<Case> cases = {
      {"<f8", float64_bytes(&pi, 1), pi},
      {">f8", reversed(float64_bytes(&pi, 1)), pi},
      {"<f4", "\x00\x00\xC0\xBF"s, -1.5},
      {">f4", "\xBF\xC0\x00\x00"s, -1.5},
      {"<f2", "\x00\x3C"s, 1.0},
      {"<f2", "\x00\xC5"s, -5.0},
      {"<f2", "\x01\x00"s, std::ldexp(1.0, -24)},
      {"<f2", "\xFF\x7B"s, 65504.0},
      {"<f2", "\x00\xFC"s, -std::numeric_limits<double>::infinity()},
      {"|b1", "\x01"s, 1.0},
      {"|i1", "\xFF"s, -1.0},
      {"|u1", "\xFF"s, 255.0},
      {"<i2", "\xFE\xFF"s, -2.0},
      {">u2", "\x01\x00"s, 256.0},
      {"<i4", "\xFD\xFF\xFF\xFF"s, -3.0},
      {"<u4", "\xFF\xFF\xFF\xFF"s, 4294967295.0},
      {"<i8", "\xFC\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s, -4.0},
      {">u8", "\x00\x00\x00\x00\x00\x00\x01\x00"s, 256.0},
  };
  for (const Case& c : cases) {
    const Array array = parse_npy(npy_of(c.dtype, "(1,)", c.bytes), "f.npy");
    EXPECT_EQ(array.shape, std::vector<Index>{1}) << c.dtype;
    EXPECT_EQ(array.values, std::vector<double>{c.value}) << c.dtype;
  }
  EXPECT_TRUE(std::isnan(parse_npy(npy_of("<f2", "(1,)", "\x00\x7E"s), "f.npy").values.at(0)));
}

TEST(ReadNpy, FortranOrderIsTransposedAtAnyRank) {
  // C order of [[0 1 2] [3 4 5]] is 0 1 2 3 4 5; Fortran order is 0 3 1 4 2 5.
  const Array matrix = parse_npy(npy_of("|u1", "(2, 3)", "\0\3\1\4\2\5"s, "True"), "f.npy");
  EXPECT_EQ(matrix.values, (std::vector<double>{0, 1, 2, 3, 4, 5}));

  const Array cube = parse_npy(npy_of("|u1", "(2, 1, 2)", "\0\2\1\3"s, "True"), "f.npy");
  EXPECT_EQ(cube.values, (std::vector<double>{0, 1, 2, 3}));
}

TEST(ReadNpy, AcceptsAllVersionsScalarsAndEmptyArrays) {
  const std::string header = "{\"shape\": (2,), \"descr\": \"|u1\", \"fortran_order\": False}";
  for (const int version : {1, 2, 3})
    EXPECT_EQ(parse_npy(npy(header, "\1\2", version), "f.npy").values, (std::vector<double>{1, 2}))
        << version;
  EXPECT_EQ(parse_npy(npy_of("|u1", "()", "\7"), "f.npy").values, std::vector<double>{7});
  EXPECT_EQ(parse_npy(npy_of("<f8", "(0, 3)", ""), "f.npy").as_matrix("X").cols(), 3);
}

TEST(ReadNpy, NamesWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "f.npy: the file ends inside the NPY header, at byte 0"},
      {"a,b\n1,2\n", "f.npy: not an NPY file"},
      {"PK\3\4 and more", "f.npy: an NPZ archive, where a single NPY array is required"},
      {"\x93NUMPY\x07\0\0\0"s, "f.npy: NPY version = 7: must be 1, 2 or 3"},
      {npy_of("|O", "(1,)", "x"),
       "f.npy: an array of Python objects (a pickle), which is never loaded; save it as a numeric array, "
       "e.g. with "
       ".astype('float64')"},
      {npy_of("<U5", "(1,)", ""),
       "f.npy: dtype '<U5' is not supported; it must be bool, an integer or float16, float32 or float64"},
      {npy_of("<c16", "(0,)", ""),
       "f.npy: dtype '<c16' is not supported; it must be bool, an integer or float16, float32 or float64"},
      {npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", "12345678"),
       "f.npy: a structured dtype; a plain numeric array is required"},
      {npy("{'descr': '<f8', 'shape': (1,), }", "12345678"),
       "f.npy: invalid NPY header '{'descr': '<f8', 'shape': (1,), }'"},
      {npy_of("<f8", "(-1,)", ""), "f.npy: invalid NPY header '{'descr': '<f8', 'fortran_order': False,...'"},
      {npy_of("<f8", "(2,)", "12345678"),
       "f.npy: truncated: shape (2,) of 8-byte elements needs more than the 8 bytes present"},
      {npy_of("<f8", "(4000000000, 4000000000)", "12345678"),
       "f.npy: truncated: shape (4000000000, 4000000000) of 8-byte elements needs more than the 8 bytes "
       "present"},
      {npy_of("<f8", "(1000000000000,)", "12345678"),
       "f.npy: truncated: shape (1000000000000,) of 8-byte elements needs more than the 8 bytes present"},
      {npy_of("<f8", "(1,)", "123456789"), "f.npy: 1 byte after the end of the array of shape (1,)"},
  };
  for (const auto& [bytes, message] : cases)
    EXPECT_EQ(message_of([&, b = bytes] { parse_npy(b, "f.npy"); }), message);
  EXPECT_EQ(message_of([] { read_npy("/nowhere/X.npy"); }),
            "cannot read '/nowhere/X.npy': No such file or directory");
}

TEST(ReadNpy, RefusesMalformedHeaders) {
  const std::vector<std::string> headers = {
      "",
      "{",
      "{}",
      "()",
      "{'descr': '<f8'",
      "{'descr': '<f8, 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': 1}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'other': (1,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}"};
  for (const std::string& header : headers)
    EXPECT_TRUE(
        message_of([&] { parse_npy(npy(header, "\1"), "f.npy"); }).starts_with("f.npy: invalid NPY header"))
        << header;
}

TEST(WriteNpy, ReadsBackBitForBit) {
  const TemporaryFile file("round_trip.npy");
  Matrix matrix(130, 3);
  for (Index i = 0; i < matrix.size(); ++i) matrix.data()[i] = std::sin(static_cast<double>(i)) * 1e3;
  matrix(0, 0) = -0.0;
  matrix(1, 2) = std::numeric_limits<double>::infinity();
  write_npy(file.path, matrix);

  const Array array = read_npy(file.path);
  EXPECT_EQ(array.shape, (std::vector<Index>{130, 3}));
  EXPECT_EQ(array.as_matrix("X"), matrix);
  EXPECT_EQ(file_contents(file.path).size() % 64, (130 * 3 * 8) % 64);

  write_npy(file.path, Matrix(4, 0));
  EXPECT_EQ(read_npy(file.path).shape, (std::vector<Index>{4, 0}));
  write_npy(file.path, matrix.middleCols(1, 1));
  EXPECT_EQ(read_npy(file.path).as_vector("y"), matrix.col(1));
  write_npy_vector(file.path, matrix.col(1));
  EXPECT_EQ(read_npy(file.path).shape, std::vector<Index>{130});
  EXPECT_EQ(read_npy(file.path).as_matrix("y"), matrix.col(1));
}

TEST(ReadNpy, EveryTruncationIsRefused) {
  expect_every_truncation_is_refused(npy_of("<f8", "(2,)", std::string(16, 'x')),
                                     [](std::string_view bytes) { parse_npy(bytes, "f.npy"); });
}

TEST(Array, RefusesOtherRanksByName) {
  const Array cube{{1, 2, 3}, std::vector<double>(6)};

  EXPECT_EQ(message_of([&] { cube.as_matrix("X.npy"); }),
            "X.npy has shape (1, 2, 3): must be a matrix (rows, columns) or a vector");
  EXPECT_EQ(message_of([&] {
              (Array{{2, 3}, std::vector<double>(6)}).as_vector("y.npy");
            }),
            "y.npy has shape (2, 3): must be a vector: (n,), (n, 1) or (1, n)");
  EXPECT_EQ((Array{{1, 3}, {1, 2, 3}}).as_vector("y").size(), 3);
}

struct Member {
  std::string name, contents;
  bool deflated = false;
};

std::string deflate_raw(std::string_view text) { return deflated(text, -15); }

enum class Zip64 { no, yes };

// A ZIP archive written from the format's description, with sizes in ZIP64 fields if asked for.
std::string zip(const std::vector<Member>& members, Zip64 zip64 = Zip64::no,
                const std::string& comment = "") {
  const auto le = [](std::uint64_t value, std::size_t width) { return little_endian_bytes(value, width); };
  std::string body, directory;
  for (const Member& member : members) {
    const std::string data = member.deflated ? deflate_raw(member.contents) : member.contents;
    const auto checksum =
        crc32_z(0, reinterpret_cast<const Bytef*>(member.contents.data()), member.contents.size());
    const std::string method = le(member.deflated ? 8 : 0, 2);
    const bool big = zip64 == Zip64::yes;
    const std::string sizes =
        big ? le(0xFFFFFFFF, 4) + le(0xFFFFFFFF, 4) : le(data.size(), 4) + le(member.contents.size(), 4);
    const std::string extra =
        big ? le(1, 2) + le(16, 2) + le(member.contents.size(), 8) + le(data.size(), 8) : "";
    const std::string middle =
        method + le(0, 4) + le(checksum, 4) + sizes + le(member.name.size(), 2) + le(extra.size(), 2);
    directory += "PK\1\2"s + le(45, 2) + le(45, 2) + le(0, 2) + middle + le(0, 2) + le(0, 2) + le(0, 2) +
                 le(0, 4) + le(body.size(), 4) + member.name + extra;
    body += "PK\3\4"s + le(45, 2) + le(0, 2) + middle + member.name + extra + data;
  }
  const std::uint64_t offset = body.size(), end64 = offset + directory.size();
  std::string end;
  if (zip64 == Zip64::yes)
    end = "PK\6\6"s + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 8) + le(members.size(), 8) +
          le(members.size(), 8) + le(directory.size(), 8) + le(offset, 8) + "PK\6\7"s + le(0, 4) +
          le(end64, 8) + le(1, 4);
  const bool big = zip64 == Zip64::yes;
  end += "PK\5\6"s + le(0, 4) + le(members.size(), 2) + le(members.size(), 2) + le(directory.size(), 4) +
         le(big ? 0xFFFFFFFF : offset, 4) + le(comment.size(), 2) + comment;
  return body + directory + end;
}

TEST(ReadNpz, ReadsStoredAndDeflatedAndZip64Members) {
  const std::vector<Member> members = {{"W0.npy", npy_of("|u1", "(2, 2)", "\1\2\3\4")},
                                       {"b0.npy", npy_of("|u1", "(300,)", std::string(300, '\5')), true},
                                       {"README.txt", "not an array"}};
  for (const Zip64 zip64 : {Zip64::no, Zip64::yes}) {
    const auto arrays = parse_npz(zip(members, zip64, "a comment"), "f.npz");
    ASSERT_EQ(arrays.size(), 2U);
    EXPECT_EQ(arrays.at("W0").values, (std::vector<double>{1, 2, 3, 4}));
    EXPECT_EQ(arrays.at("b0").values, std::vector<double>(300, 5.0));
  }
}

TEST(ReadNpz, NamesWhatIsWrong) {
  const std::string array = npy_of("|u1", "(2,)", "\1\2");
  std::string corrupt = zip({{"W0.npy", array}});
  corrupt[30 + 6 + array.size() - 1] = '\7';
  std::string bomb = zip({{"W0.npy", array, true}});
  const std::size_t entry = bomb.find("PK\1\2");
  bomb.replace(entry + 24, 4, "\xF0\xFF\xFF\xFF");
  std::string encrypted = zip({{"W0.npy", array}});
  encrypted[encrypted.find("PK\1\2") + 8] = '\1';
  std::string method = zip({{"W0.npy", array}});
  method[method.find("PK\1\2") + 10] = '\x0E';
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "f.npz: not a usable NPZ file: it is not a ZIP archive"},
      {"a,b\n1,2\n", "f.npz: not a usable NPZ file: it is not a ZIP archive"},
      {zip({{"W0.npy", array}}).substr(0, 60), "f.npz: not a usable NPZ file: it is truncated"},
      {zip({{"notes.txt", "x"}}), "f.npz: the archive holds no arrays"},
      {zip({{"a.npy", array}, {"a.npy", array}}), "f.npz: two arrays are named 'a'"},
      {corrupt, "f.npz, member 'W0.npy': its checksum does not match"},
      {encrypted, "f.npz, member 'W0.npy': encrypted members cannot be read"},
      {method,
       "f.npz, member 'W0.npy': compression method 14 is not supported; save with numpy.savez or "
       "numpy.savez_compressed"},
      {zip({{"W0.npy", npy_of("|O", "(1,)", "x")}}),
       "f.npz, array 'W0': an array of Python objects (a pickle), which is never loaded; save it as a "
       "numeric array, "
       "e.g. with .astype('float64')"},
  };
  for (const auto& [bytes, message] : cases)
    EXPECT_EQ(message_of([&, b = bytes] { parse_npz(b, "f.npz"); }), message);
  EXPECT_THAT(message_of([&] { parse_npz(bomb, "f.npz"); }),
              testing::HasSubstr("compressed bytes cannot hold the declared 4294967280 bytes"));
}

TEST(ReadNpz, EveryTruncationIsRefused) {
  for (const Zip64 zip64 : {Zip64::no, Zip64::yes})
    expect_every_truncation_is_refused(zip({{"W0.npy", npy_of("|u1", "(2,)", "\1\2"), true}}, zip64),
                                       [](std::string_view bytes) { parse_npz(bytes, "f.npz"); });
}

TEST(ReadNpz, AnySingleDamagedByteGivesAnArrayOrAnInputError) {
  const std::string good = zip({{"W0.npy", npy_of("|u1", "(2,)", "\1\2"), true}}, Zip64::yes);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bytes = good;
    bytes[i] = static_cast<char>(~bytes[i]);
    try {
      EXPECT_FALSE(parse_npz(bytes, "f.npz").empty());
    } catch (const InputError&) {
    }
  }
}

}  // namespace
}  // namespace gradflow
