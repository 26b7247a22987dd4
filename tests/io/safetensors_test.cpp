// safetensors: round trips, golden bytes of the reference implementation, Python both ways, and hostile
// files.
#include "wholestep/io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "support/command.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::TempDir;

const float kWeights[] = {1.5f, -2, 3.25f, 0, 1e-30f, 7};
const int64_t kSteps[] = {-5, int64_t{1} << 40};
const uint8_t kPixels[] = {1, 2, 255};
const double kRate = 0.1;

std::vector<NamedBytes> sample() {
  return {{"pixels", {DType::u8, {3}}, std::as_bytes(std::span(kPixels))},
          {"layers.0.weight", {DType::f32, {2, 3}}, std::as_bytes(std::span(kWeights))},
          {"steps", {DType::i64, {2}}, std::as_bytes(std::span(kSteps))},
          {"rate", {DType::f64, Shape{}}, std::as_bytes(std::span(&kRate, 1))},
          {"none", {DType::i32, {0, 4}}, {}},
          {"mask", {DType::boolean, {1}}, std::as_bytes(std::span(kPixels)).first(1)}};
}

Bytes bytes_copy(std::string_view text) { return {bytes_of(text).begin(), bytes_of(text).end()}; }

// A file of this header text and so many data bytes.
Bytes file_of(const std::string& header, size_t data_bytes) {
  std::string text;
  for (int shift = 0; shift < 64; shift += 8) text += static_cast<char>(header.size() >> shift);
  return bytes_copy(text + header + std::string(data_bytes, '\1'));
}

void expect_refused(const std::string& header, size_t data_bytes, std::initializer_list<std::string> pieces) {
  SCOPED_TRACE(header.substr(0, 200));
  expect_error(ErrorCode::kBadData, pieces,
               [&] { SafetensorsFile::parse(file_of(header, data_bytes), "m.st"); });
}

TEST(Safetensors, RoundTripsEveryDtypeWithMetadata) {
  TempDir folder;
  write_safetensors(folder / "m.st", sample(), {{"format", "pt"}});
  SafetensorsFile file = SafetensorsFile::open(folder / "m.st");
  EXPECT_EQ(file.names(),
            (std::vector<std::string>{"layers.0.weight", "mask", "none", "pixels", "rate", "steps"}));
  EXPECT_EQ(file.metadata(), (StringMap{{"format", "pt"}}));
  for (const NamedBytes& tensor : sample()) {
    EXPECT_EQ(file.type(tensor.name), tensor.type) << tensor.name;
    EXPECT_EQ(text_of(file.bytes(tensor.name)), text_of(tensor.bytes)) << tensor.name;
    if (!tensor.bytes.empty()) {
      auto address = reinterpret_cast<uintptr_t>(file.bytes(tensor.name).data());
      EXPECT_EQ(address % static_cast<uintptr_t>(size_bytes(tensor.type.dtype)), 0u) << tensor.name;
    }
  }
  expect_error(ErrorCode::kBadData, {"no such tensor", "layers.0.weigth", "'layers.0.weight'?"},
               [&] { file.bytes("layers.0.weigth"); });
}

TEST(Safetensors, EqualTensorsGiveEqualFilesInAnyOrder) {
  TempDir folder;
  std::vector<NamedBytes> turned = sample();
  std::reverse(turned.begin(), turned.end());
  write_safetensors(folder / "a", sample());
  write_safetensors(folder / "b", turned);
  EXPECT_EQ(test::read_file(folder / "a"), test::read_file(folder / "b"));
}

// Written by the safetensors package 0.4.5: save({"b": f32 [1, 2], "a": u8 [7]}, metadata={"k": "v"}).
TEST(Safetensors, ReadsAFileOfTheReferenceImplementation) {
  std::string golden(
      "\210\000\000\000\000\000\000\000{\"__metadata__\":{\"k\":\"v\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2]"
      ",\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}"
      "     \000\000\200\077\000\000\000@\007",
      153);
  SafetensorsFile file = SafetensorsFile::parse(bytes_copy(golden), "golden");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(file.type("b"), (TensorType{DType::f32, {2}}));
  float values[2];
  std::memcpy(values, file.bytes("b").data(), sizeof values);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], 2.0f);
  EXPECT_EQ(file.bytes("a")[0], std::byte{7});
  EXPECT_EQ(file.metadata(), (StringMap{{"k", "v"}}));
}

// The format by its own description, read with nothing but Python's json and struct modules.
TEST(Safetensors, AReaderOfTwentyLinesFindsEveryTensorInOurFile) {
  if (test::run_command("python3 -c 'import json, struct'").status != 0) GTEST_SKIP() << "no python3";
  TempDir folder;
  write_safetensors(folder / "ours.st", sample(), {{"format", "pt"}});
  test::write_file(folder / "check.py", R"(
import hashlib, json, struct, sys
data = open(sys.argv[1], "rb").read()
length, = struct.unpack("<Q", data[:8])
assert length % 8 == 0
header = json.loads(data[8:8 + length].decode("utf-8"))
meta = header.pop("__metadata__")
assert meta.pop("format") == "pt"
codes = {"F32": "f", "F64": "d", "I32": "i", "I64": "q", "U8": "B", "BOOL": "?"}
found, end = {}, 0
for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
    begin, stop = info["data_offsets"]
    assert begin == end
    end = stop
    raw = data[8 + length + begin:8 + length + stop]
    assert hashlib.sha256(raw).hexdigest() == meta.pop("sha256:" + name)
    code = codes[info["dtype"]]
    found[name] = (info["shape"], list(struct.unpack("<%d%s" % (len(raw) // struct.calcsize(code), code), raw)))
assert 8 + length + end == len(data) and not meta
weight = found.pop("layers.0.weight")
assert weight[0] == [2, 3] and weight[1][:4] == [1.5, -2.0, 3.25, 0.0] and abs(weight[1][4] - 1e-30) < 1e-36, weight
assert found == {"pixels": ([3], [1, 2, 255]), "steps": ([2], [-5, 2**40]), "rate": ([], [0.1]),
                 "none": ([0, 4], []), "mask": ([1], [True])}, found
)");
  auto result = test::run_command("python3 '" + (folder / "check.py").string() + "' '" +
                                  (folder / "ours.st").string() + "'");
  EXPECT_EQ(result.status, 0) << result.output;
}

TEST(Safetensors, PythonsPackageReadsOurFilesAndWeReadItsFiles) {
  if (test::run_command("python3 -c 'import safetensors.numpy'").status != 0)
    GTEST_SKIP() << "python3 has no safetensors with numpy";
  TempDir folder;
  write_safetensors(folder / "ours.st", sample(), {{"format", "pt"}});
  test::write_file(folder / "check.py", R"(
import sys, numpy as np
from safetensors.numpy import load_file, save_file
ours = load_file(sys.argv[1] + "/ours.st")
assert sorted(ours) == ["layers.0.weight", "mask", "none", "pixels", "rate", "steps"], sorted(ours)
assert ours["layers.0.weight"].dtype == np.float32
assert (ours["layers.0.weight"] == np.array([[1.5, -2, 3.25], [0, 1e-30, 7]], np.float32)).all()
assert ours["rate"].shape == () and ours["rate"] == 0.1 and ours["none"].shape == (0, 4)
assert (ours["steps"] == [-5, 2**40]).all() and (ours["pixels"] == [1, 2, 255]).all() and ours["mask"][0] == True
save_file(ours, sys.argv[1] + "/theirs.st", metadata={"by": "python"})
)");
  auto result =
      test::run_command("python3 '" + (folder / "check.py").string() + "' '" + folder.path().string() + "'");
  ASSERT_EQ(result.status, 0) << result.output;
  SafetensorsFile theirs = SafetensorsFile::open(folder / "theirs.st");
  for (const NamedBytes& tensor : sample()) {
    EXPECT_EQ(theirs.type(tensor.name), tensor.type);
    EXPECT_EQ(text_of(theirs.bytes(tensor.name)), text_of(tensor.bytes));
  }
  EXPECT_EQ(theirs.metadata().at("by"), "python");
}

TEST(Safetensors, EveryTruncationIsAnError) {
  TempDir folder;
  write_safetensors(folder / "m.st", sample());
  std::string whole = test::read_file(folder / "m.st");
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(SafetensorsFile::parse(bytes_copy(whole.substr(0, length)), "m"), Error) << length;
  EXPECT_THROW(SafetensorsFile::parse(bytes_copy(whole + "x"), "m"), Error);
}

TEST(Safetensors, EveryBitFlipInTheDataNamesItsTensor) {
  TempDir folder;
  write_safetensors(folder / "m.st", {{"w", {DType::f32, {2, 3}}, std::as_bytes(std::span(kWeights))}});
  std::string whole = test::read_file(folder / "m.st");
  for (size_t bit = 0; bit < 24 * 8; ++bit) {
    std::string damaged = whole;
    char& byte = damaged[whole.size() - 24 + bit / 8];
    byte = static_cast<char>(byte ^ 1 << bit % 8);
    expect_error(ErrorCode::kBadData, {"tensor 'w'", "not what was written"},
                 [&] { SafetensorsFile::parse(bytes_copy(damaged), "m"); });
  }
}

TEST(Safetensors, BitFlipsInTheHeaderNeverCrashOrChangeATensorUnnoticed) {
  TempDir folder;
  write_safetensors(folder / "m.st", sample());
  std::string whole = test::read_file(folder / "m.st");
  for (size_t bit = 0; bit < (whole.size() - 55) * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    try {
      SafetensorsFile file = SafetensorsFile::parse(bytes_copy(damaged), "m");
      for (const NamedBytes& tensor : sample()) {
        if (!file.contains(tensor.name)) continue;  // a flip in its name and in the name of its hash differ
        EXPECT_EQ(text_of(file.bytes(tensor.name)), text_of(tensor.bytes)) << bit;
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadData) << error.what();
    }
  }
}

TEST(Safetensors, HeadersThatBreakTheFormatAreRefusedByName) {
  expect_refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
                 {"tensor 'a'", "4 bytes", "8 bytes for f32[2]"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 4,
                 {"tensor 'a'", "outside the file"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4,
                 {"tensor 'a'", "outside the file"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, {"a hole", "tensor 'a'"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, {"after the last tensor"});
  expect_refused(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
      6, {"overlap", "tensor 'b'"});
  expect_refused(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
      1, {"duplicate key", "'a'"});
  expect_refused(R"({"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]}})", 2,
                 {"dtype", "U16", "tensor 'a'"});
  expect_refused(R"({"a":{"shape":[1],"data_offsets":[0,2]}})", 2, {"without dtype"});
  expect_refused(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, {"shape"});
  expect_refused(R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, {"shape"});
  expect_refused(R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1, {"shape"});
  expect_refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, {"outside the file"});
  expect_refused(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
                 {"too many dimensions"});
  expect_refused(R"({"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
                 {"64 bits"});
  expect_refused(R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0,
                 {"64 bits"});
  expect_refused(R"({"a":7})", 0, {"not an object"});
  expect_refused(R"({"__metadata__":{"k":1}})", 0, {"metadata that is not a string"});
  expect_refused(R"({"__metadata__":{"sha256:gone":"00"}})", 0, {"hash without its tensor", "gone"});
  expect_refused(R"( {})", 0, {"starts with '{'"});
  expect_refused("", 0, {"starts with '{'"});
  expect_refused("{\"\xff\":{}}", 0, {"not valid JSON"});
  expect_refused("{\"a\":" + std::string(100000, '['), 0, {"nested too deeply"});
  EXPECT_NO_THROW(SafetensorsFile::parse(file_of("{}      ", 0), "m"));
  EXPECT_NO_THROW(SafetensorsFile::parse(
      file_of(R"({"a":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}})", 0), "m"));
}

TEST(Safetensors, AHeaderLengthBeyondTheFileIsRefusedBeforeAnythingIsRead) {
  for (const char* length : {"\xff\xff\xff\xff\xff\xff\xff\xff", "\1\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\x80"})
    expect_error(ErrorCode::kBadData, {"header does not fit", "m.st: byte 0"},
                 [&] { SafetensorsFile::parse(bytes_copy(std::string_view(length, 8)), "m.st"); });
}

TEST(Safetensors, WritingChecksNamesAndLengths) {
  TempDir folder;
  NamedBytes good = sample()[0];
  NamedBytes wrong = good;
  wrong.type.shape = {4};
  expect_error(ErrorCode::kUsage, {"pixels", "3 bytes", "4 for u8[4]"},
               [&] { write_safetensors(folder / "x", {wrong}); });
  expect_error(ErrorCode::kUsage, {"two tensors"}, [&] { write_safetensors(folder / "x", {good, good}); });
  good.name = "\xff";
  expect_error(ErrorCode::kUsage, {"not UTF-8"}, [&] { write_safetensors(folder / "x", {good}); });
  good.name = "__metadata__";
  expect_error(ErrorCode::kUsage, {"not a name"}, [&] { write_safetensors(folder / "x", {good}); });
  EXPECT_FALSE(std::filesystem::exists(folder / "x"));
}

}  // namespace
}  // namespace wholestep
