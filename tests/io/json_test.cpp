// JSON and TOML texts, and config structs read from them.
#include "wholestep/io/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/io/config_reader.h"
#include "wholestep/io/toml.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;

TEST(Json, ReadsWhatTheLibrarysOwnParserReads) {
  std::string text =
      R"({"a": [1, -2, 3.5, 1e-3, true, null, "\u00e9"], "b": {"c": {}, "d": []}, "": 18446744073709551615})";
  EXPECT_EQ(parse_json(text, "x"), json::parse(text));
  EXPECT_EQ(parse_json("7", "x"), json(7));
}

TEST(Json, ErrorsNameLineAndColumn) {
  expect_error(ErrorCode::kBadData, {"m.json:2:8", "not valid JSON"},
               [] { parse_json("{\n  \"a\": ]\n}", "m.json"); });
  expect_error(ErrorCode::kBadConfig, {"m.json:3:5", "duplicate key", "'a' twice"}, [] {
    parse_json("{\n  \"a\": 1,\n  \"a\": 2\n}", "m.json", {.code = ErrorCode::kBadConfig});
  });
  expect_error(ErrorCode::kBadData, {"end of"}, [] { parse_json("", "m.json"); });
}

TEST(Json, EveryTruncationIsAnError) {
  std::string text = R"({"a": [1, {"b": "c"}], "d": null})";
  for (size_t length = 0; length < text.size(); ++length)
    EXPECT_THROW(parse_json(text.substr(0, length), "x"), Error) << length;
  EXPECT_THROW(parse_json(text + "x", "x"), Error);
}

TEST(Json, DepthSizeEncodingAndRangeAreLimited) {
  std::string nest64 = std::string(64, '[') + std::string(64, ']');
  EXPECT_NO_THROW(parse_json(nest64, "x"));
  expect_error(ErrorCode::kBadData, {"nested too deeply", "x:1:65"},
               [&] { parse_json("[" + nest64 + "]", "x"); });
  EXPECT_THROW(parse_json(std::string(10000000, '['), "x"), Error);
  expect_error(ErrorCode::kBadData, {"too large", "4 bytes"},
               [] { parse_json("12345", "x", {.max_bytes = 4}); });
  EXPECT_THROW(parse_json("\"\xff\"", "x"), Error);
  EXPECT_THROW(parse_json("1e400", "x"), Error);
  EXPECT_THROW(parse_json("NaN", "x"), Error);
}

TEST(ConfigReader, ReadsValuesAndKeepsDefaults) {
  json object = {{"lr", 1}, {"steps", 7}, {"name", "adam"}, {"betas", {0.9, 1}}, {"on", true}};
  ConfigReader reader(object, "optimizer");
  EXPECT_EQ(reader.get("lr", 0.5), 1.0);
  EXPECT_EQ(reader.get("steps", 3), 7);
  EXPECT_EQ(reader.require<std::string>("name"), "adam");
  EXPECT_EQ(reader.get("betas", std::vector<double>{}), (std::vector<double>{0.9, 1.0}));
  EXPECT_TRUE(reader.get("on", false));
  EXPECT_EQ(reader.get("eps", 1e-8), 1e-8);
  EXPECT_NO_THROW(reader.finish());
}

TEST(ConfigReader, ReportsEveryProblemAtOnce) {
  json object = {{"lr", "fast"},  {"momentum", 2.5},     {"steps", 1.5},  {"kernal_size", 3},
                 {"name", "adm"}, {"sizes", {1, "two"}}, {"seed", 1e300}, {"small", 5000000000}};
  ConfigReader reader(object, "run.toml: optimizer");
  EXPECT_EQ(reader.get("lr", 0.5), 0.5);
  reader.get("momentum", 0.0, {.min = 0, .max = 1});
  reader.get("steps", int64_t{1});
  reader.get("kernel_size", 1);
  std::vector<std::string> names = {"adam", "sgd"};
  EXPECT_EQ(reader.get_choice("name", "sgd", names), "sgd");
  reader.get("sizes", std::vector<int64_t>{});
  reader.get("seed", uint64_t{0});
  reader.get("small", 0);
  reader.require<bool>("shuffle");
  expect_error(
      ErrorCode::kBadConfig,
      {"9 problems", "run.toml: optimizer: 'lr' got \"fast\", expected a finite number",
       "'momentum' got 2.5, expected 0 to 1", "'steps' got 1.5, expected an integer",
       "'kernal_size' is not a known key, did you mean 'kernel_size'?",
       "'name' got 'adm', did you mean 'adam'?", "'sizes' got [1,\"two\"], expected an integer at index 1",
       "'seed' got 1e+300, expected an integer", "'small' got 5000000000, expected -2147483648 to 2147483647",
       "'shuffle' is missing"},
      [&] { reader.finish(); });
}

TEST(ConfigReader, NestedObjectsReportTogether) {
  json object = {{"optimizer", {{"lr", true}, {"x", 1}}}, {"epochs", 0}};
  ConfigReader reader(object, "run.toml");
  ConfigReader nested(*reader.child("optimizer"), "run.toml: optimizer");
  nested.get("lr", 0.1);
  reader.absorb(nested);
  reader.get("epochs", 1, {.min = 1});
  expect_error(ErrorCode::kBadConfig,
               {"3 problems", "optimizer: 'lr'", "optimizer: 'x'", "'epochs' got 0, expected at least 1"},
               [&] { reader.finish(); });
  json list = json::array();
  ConfigReader wrong(list, "top");
  expect_error(ErrorCode::kBadConfig, {"top: got []"}, [&] { wrong.finish(); });
}

TEST(Toml, ReadsTablesArraysAndNumbers) {
  json parsed = parse_toml("a = 1\nb.c = 2.5\n[d]\ne = [\"x\", true]\n[[f]]\ng = 1\n[[f]]\n", "run.toml");
  EXPECT_EQ(
      parsed,
      (json{
          {"a", 1}, {"b", {{"c", 2.5}}}, {"d", {{"e", {"x", true}}}}, {"f", {{{"g", 1}}, json::object()}}}));
}

TEST(Toml, ErrorsNameLineAndColumn) {
  expect_error(ErrorCode::kBadConfig, {"run.toml:2:5", "not valid TOML"},
               [] { parse_toml("a = 1\nb = \n", "run.toml"); });
  expect_error(ErrorCode::kBadConfig, {"run.toml:2"}, [] { parse_toml("a = 1\na = 2\n", "run.toml"); });
  expect_error(ErrorCode::kBadConfig, {"run.toml:1:5", "dates"},
               [] { parse_toml("a = 2020-01-01", "run.toml"); });
}

TEST(Toml, DepthIsLimitedInEveryNotation) {
  std::string dots;
  for (int i = 0; i < 400000; ++i) dots += "a.";
  expect_error(ErrorCode::kBadConfig, {"nested too deeply", "x:1"}, [&] { parse_toml(dots + "a = 1", "x"); });
  expect_error(ErrorCode::kBadConfig, {"nested too deeply", "x:2"},
               [&] { parse_toml("# \"\n[" + dots + "a]", "x"); });
  EXPECT_THROW(parse_toml("a = " + std::string(500000, '['), "x"), Error);
  EXPECT_THROW(parse_toml("a = " + std::string(100, '[') + std::string(100, ']'), "x"), Error);
  EXPECT_NO_THROW(
      parse_toml("a = \"" + std::string(1000, '.') + "\"\nb = [" + std::string(1, '1') + ".5, 2.5]", "x"));
}

TEST(Toml, WritesWhatItReadsBack) {
  json object = {{"lr", 0.1},
                 {"tiny", 1e-300},
                 {"third", 1.0 / 3},
                 {"whole", 2.0},
                 {"n", -5},
                 {"big", INT64_MAX},
                 {"s", "quote \" and \\ and \n and \x7f and é"},
                 {"list", {1, 2, 3}},
                 {"empty", json::object()},
                 {"nested", {{"deeper", {{"x", true}}}, {"y", json::array()}}},
                 {"layers", {{{"type", "Linear"}}, {{"type", "ReLU"}}}},
                 {"odd key", 1}};
  EXPECT_EQ(parse_toml(to_toml(object), "x"), object);
  EXPECT_TRUE(parse_toml(to_toml(object), "x")["whole"].is_number_float());
  EXPECT_EQ(to_toml({{"gone", nullptr}, {"kept", 1}}), "kept = 1\n");
  EXPECT_EQ(to_toml({{"betas", {0.9, 0.999}}, {"eps", 1e-8}, {"lr", 1.0}}),
            "betas = [0.9, 0.999]\neps = 1e-08\nlr = 1.0\n");
  EXPECT_EQ(to_toml({{"a", {{"b", {{"c", 1}}}}}, {"z", 2}}), "z = 2\n\n[a]\n\n[a.b]\nc = 1\n");
  EXPECT_THROW(to_toml({{"seed", UINT64_MAX}}), Error);
}

TEST(Toml, OverridesSetTypedValuesAtDottedKeys) {
  json config = {{"optimizer", {{"lr", 0.1}, {"name", "sgd"}}}};
  apply_override(config, "optimizer.lr=1e-3");
  apply_override(config, "optimizer.name=adam");
  apply_override(config, "trainer.max_epochs=5");
  apply_override(config, "data.sizes=[1, 2]");
  apply_override(config, "quoted=\"5\"");
  apply_override(config, "path=runs/a=b");
  apply_override(config, "flag=true");
  apply_override(config, "none=");
  apply_override(config, "two=1\nx = 2");
  EXPECT_EQ(config, (json{{"optimizer", {{"lr", 1e-3}, {"name", "adam"}}},
                          {"trainer", {{"max_epochs", 5}}},
                          {"data", {{"sizes", {1, 2}}}},
                          {"quoted", "5"},
                          {"path", "runs/a=b"},
                          {"flag", true},
                          {"none", ""},
                          {"two", "1\nx = 2"}}));
  expect_error(ErrorCode::kUsage, {"'lr'", "key=value"}, [&] { apply_override(config, "lr"); });
  expect_error(ErrorCode::kUsage, {"'a..b=1'"}, [&] { apply_override(config, "a..b=1"); });
  expect_error(ErrorCode::kBadConfig, {"no table"}, [&] { apply_override(config, "flag.x=1"); });
}

}  // namespace
}  // namespace wholestep
