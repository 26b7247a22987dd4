// Config structs: one list of fields, read as checks, JSON, text and documentation.
#include "wholestep/io/config_fields.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;

struct Base {
  virtual ~Base() = default;
};

struct OvenConfig {
  static constexpr const char *kType = "oven", *kDoc = "bakes";
  int64_t trays = 0;
  double heat = 180;
  bool fan = true;
  std::string mode = "both";
  std::array<double, 2> limits = {0.5, 1};
  Size2d size = 3;
  ConfigFields fields() {
    return {{"trays", &trays, "how many", {.min = 1}},
            {"heat", &heat, "degrees", {.min = 30, .max = 300}},
            {"fan", &fan, "moves air"},
            {"mode", &mode, "where heat comes from", {}, {"top", "bottom", "both"}},
            {"limits", &limits, "first and last", {.min = 0}},
            {"size", &size, "height and width", {.min = 1}}};
  }
  std::vector<std::string> problems() const {
    return fan && mode == "top" ? std::vector<std::string>{"'fan' and mode 'top' do not go together"}
                                : std::vector<std::string>{};
  }
};
struct Oven : Base {
  using Config = OvenConfig;
  explicit Oven(OvenConfig c) : config(std::move(c)) {}
  OvenConfig config;
};

OvenConfig read(const json& object) {
  ConfigReader reader(object, "kitchen.json");
  OvenConfig config = read_config<OvenConfig>(reader);
  reader.finish();
  return config;
}

TEST(ConfigFields, EveryFieldGoesThroughJsonAndBack) {
  json object = {{"trays", 2},    {"heat", 200.5},        {"fan", false},
                 {"mode", "top"}, {"limits", {1.0, 2.0}}, {"size", {4, 5}}};
  OvenConfig config = read(object);
  EXPECT_EQ(config.trays, 2);
  EXPECT_EQ(config.heat, 200.5);
  EXPECT_EQ(config.limits[1], 2.0);
  EXPECT_EQ(config.size, Size2d(4, 5));
  json written = json::object();
  write_config(written, config);
  object["type"] = "oven";
  EXPECT_EQ(written, object);
}

TEST(ConfigFields, DefaultsAreLeftOut) {
  json written = json::object();
  write_config(written, read({{"trays", 1}}));
  EXPECT_EQ(written, (json{{"type", "oven"}, {"trays", 1}}));
  EXPECT_EQ(print_config(OvenConfig{.trays = 1, .size = {1, 2}}), "trays=1, size=[1,2]");
}

TEST(ConfigFields, AllProblemsComeAtOnce) {
  expect_error(
      ErrorCode::kBadConfig,
      {"4 problems", "'trays' is missing", "'heat' got 500, expected 30 to 300",
       "'mode' got 'bottm', did you mean 'bottom'?", "'size' expected an integer or [height, width]"},
      [] {
        read({{"heat", 500}, {"mode", "bottm"}, {"size", {1, 2, 3}}});
      });
  expect_error(ErrorCode::kBadConfig, {"'limits' expected two numbers"}, [] {
    read({{"trays", 1}, {"limits", {1}}});
  });
  expect_error(ErrorCode::kBadConfig, {"'size' got [1,0], expected at least 1"}, [] {
    read({{"trays", 1}, {"size", {1, 0}}});
  });
  expect_error(ErrorCode::kBadConfig, {"kitchen.json: 'fan' and mode 'top'"}, [] {
    read({{"trays", 1}, {"mode", "top"}});
  });
}

TEST(ConfigFields, AStructWrittenInCodeIsCheckedAlike) {
  EXPECT_NO_THROW(checked_config("oven", OvenConfig{.trays = 1}));
  expect_error(
      ErrorCode::kBadConfig,
      {"oven.cpp:3: 3 problems", "'trays' got 0, expected at least 1", "'heat'", "'mode' got 'side'"},
      [] { checked_config("oven.cpp:3", OvenConfig{.heat = std::nan(""), .mode = "side"}); });
}

TEST(ConfigFields, DocumentationNamesTypeRangeDefaultAndMeaning) {
  std::vector<ConfigFieldRow> rows = config_type<Base, Oven>().fields;
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0].fallback, "required");
  EXPECT_EQ(rows[0].type, "integer, at least 1");
  EXPECT_EQ(rows[1].type, "number, 30 to 300");
  EXPECT_EQ(rows[1].fallback, "180.0");
  EXPECT_EQ(rows[3].type, "text, top | bottom | both");
  EXPECT_EQ(rows[5].fallback, "3");
  EXPECT_EQ(rows[5].doc, "height and width");
}

TEST(ConfigFields, AKindIsMadeFromWhatItsTypeSays) {
  const std::vector<ConfigType<Base>> types = {config_type<Base, Oven>()};
  auto make = [&](const json& object) {
    ConfigReader reader(object, "k");
    auto made = read_typed(reader, types);
    reader.finish();
    return made;
  };
  EXPECT_EQ(dynamic_cast<Oven&>(*make({{"type", "oven"}, {"trays", 3}})).config.trays, 3);
  expect_error(ErrorCode::kBadConfig, {"'type' got 'ovn', did you mean 'oven'?"}, [&] {
    make({{"type", "ovn"}, {"anything", 3}});
  });
  expect_error(ErrorCode::kBadConfig, {"'type' got 3, expected a string"}, [&] { make({{"type", 3}}); });
}

}  // namespace
}  // namespace wholestep
