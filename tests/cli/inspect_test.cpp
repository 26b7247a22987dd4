// The verbs that look at things: data, summary, plan, inspect, list, bench, sanity, eval, predict.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "support/cli_command.h"
#include "support/temp_dir.h"
#include "wholestep/io/idx.h"
#include "wholestep/io/image.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::CliResult;
using test::run_cli;
using test::TempDir;
using testing::HasSubstr;

CliResult ok(const TempDir& dir, const std::string& arguments) {
  CliResult r = run_cli(dir.path(), arguments);
  EXPECT_EQ(r.status, 0) << arguments << ": " << r.err;
  return r;
}

TEST(Data, DescribeCountsClassesAndGivesStatistics) {
  TempDir dir;
  json j = ok(dir, "data describe digits:train=500,test=60 --json").json();
  EXPECT_EQ(j["train"]["samples"], 500);
  EXPECT_EQ(j["test"]["samples"], 60);
  EXPECT_EQ(j["train"]["sample_shape"], (std::vector<int>{1, 28, 28}));
  int64_t sum = 0;
  for (const json& c : j["train"]["classes"]) sum += c["samples"].get<int64_t>();
  EXPECT_EQ(sum, 500);
  EXPECT_EQ(j["train"]["classes"].size(), 10u);
  EXPECT_GT(j["train"]["std"][0].get<double>(), 0.1);
  EXPECT_THAT(ok(dir, "data describe digits:train=500,test=60").out,
              HasSubstr("train         500 samples [1, 28, 28]"));
}

TEST(Data, PreviewIsAPictureOfTheSamplesAskedFor) {
  TempDir dir;
  ok(dir, "data preview digits:train=50,test=20 --out sheet.png --columns 5 --scale 1");
  Image sheet = read_image(dir / "sheet.png");
  EXPECT_GE(sheet.width, 5 * 28);
  EXPECT_GE(sheet.height, 10 * 28);
  ok(dir, "data preview digits:train=50,test=20 --out three.png --samples 1,2,3 --columns 3");
  EXPECT_LT(read_image(dir / "three.png").height, 28 * 2 * 2);
}

TEST(Data, ConvertWritesWhatIdxReadsBack) {
  TempDir dir;
  ok(dir, "data convert digits:train=30,test=20 out");
  json before = ok(dir, "data describe digits:train=30,test=20 --json").json(),
       after = ok(dir, "data describe idx:out --json").json();
  EXPECT_EQ(before["train"], after["train"]);
  EXPECT_EQ(before["test"], after["test"]);
}

TEST(Summary, CountsTheParametersOfLenet) {
  TempDir dir;
  json j = ok(dir, "summary lenet --json").json();
  EXPECT_EQ(j["parameters"], 61706);
  EXPECT_EQ(j["parameter_bytes"], 61706 * 4);
  EXPECT_EQ(j["layers"].size(), 12u);
  EXPECT_EQ(j["layers"][0]["output"], (std::vector<int>{1, 6, 28, 28}));
  EXPECT_THAT(ok(dir, "summary lenet --batch-size 64").out, HasSubstr("[64, 6, 28, 28]"));
}

TEST(Summary, ShowsModelsOfTokensAndOtherVerbsSayThatTheyHaveNoDataForThem) {
  TempDir dir;
  EXPECT_THAT(ok(dir, "summary gpt-char").out, testing::HasSubstr("809,856"));
  for (const char* verb : {"plan gpt-char", "train lstm-lm --data digits:train=64,test=10"}) {
    CliResult r = run_cli(dir.path(), verb);
    EXPECT_EQ(r.status, 78) << verb;
    EXPECT_THAT(r.err, testing::HasSubstr("the model takes indices, and the command has no data of them"))
        << verb;
  }
}

TEST(Plan, KindsOfMemoryAddUpAndKernelsAreNamed) {
  TempDir dir;
  json j = ok(dir, "plan lenet --batch-size 32 --json").json();
  const json& m = j["memory"];
  EXPECT_EQ(m["parameters_bytes"].get<int64_t>() + m["state_bytes"].get<int64_t>() +
                m["constants_bytes"].get<int64_t>() + m["batch_bytes"].get<int64_t>() +
                m["activations_bytes"].get<int64_t>(),
            m["total_bytes"].get<int64_t>());
  EXPECT_EQ(j["batch_size"], 32);
  EXPECT_GT(j["kernels"].size(), 20u);
  int fused = 0, convolutions = 0;
  for (const json& k : j["kernels"]) {
    EXPECT_FALSE(k["kernel"].get<std::string>().empty());
    fused += !k["fused"].empty();
    convolutions += k["op"] == "conv2d";
  }
  EXPECT_EQ(convolutions, 2);
  EXPECT_GT(fused, 3);
  EXPECT_GT(m["total_bytes"].get<int64_t>(),
            ok(dir, "plan lenet --batch-size 16 --json").json()["memory"]["total_bytes"].get<int64_t>());
}

TEST(Plan, TheOptimizersStateIsPartOfIt) {
  TempDir dir;
  auto state = [&](const std::string& options) {
    return ok(dir, "plan mlp --json " + options).json()["memory"]["state_bytes"].get<int64_t>();
  };
  int64_t parameters = 235146 * 4;
  EXPECT_LT(state("--optimizer sgd"), 4096);
  EXPECT_NEAR(static_cast<double>(state("--optimizer sgd --momentum 0.9")), static_cast<double>(parameters),
              4096);
  EXPECT_NEAR(static_cast<double>(state("--optimizer adam")), static_cast<double>(2 * parameters), 4096);
}

TEST(Inspect, EveryStagePrintsAsTextAndAsAGraph) {
  TempDir dir;
  std::string all = ok(dir, "inspect mlp --batch-size 8").out;
  std::string names;
  for (const char* stage :
       {"trace", "differentiate", "optimizer", "simplify", "layout", "fuse", "schedule"}) {
    EXPECT_THAT(all, HasSubstr(std::string("== ") + stage + ": "));
    EXPECT_THAT(ok(dir, std::string("inspect mlp --batch-size 8 --stage ") + stage).out,
                testing::StartsWith(std::string("== ") + stage + ": "));
  }
  EXPECT_THAT(ok(dir, "inspect mlp --stage trace --batch-size 8").out, HasSubstr("matmul"));
  EXPECT_THAT(ok(dir, "inspect mlp --stage differentiate --format dot").out, HasSubstr("digraph"));
}

TEST(List, EveryKindHasNamesAndDocs) {
  TempDir dir;
  for (const char* kind : {"layers", "losses", "optimizers", "schedules", "ops", "models", "library"}) {
    json list = ok(dir, std::string("list ") + kind + " --json").json();
    EXPECT_GE(list.size(), 2u) << kind;
    for (const json& entry : list)
      EXPECT_FALSE(entry["doc"].get<std::string>().empty()) << kind << " " << entry["name"];
  }
  EXPECT_THAT(ok(dir, "list optimizers").out, HasSubstr("momentum = 0"));
  EXPECT_THAT(ok(dir, "list ops").out, HasSubstr("kernels: cpu/"));
  for (const json& op : ok(dir, "list ops --json").json())
    if (op["name"] == "conv2d") {
      EXPECT_EQ(op["dtypes"], (json{"f32", "f64", "f16", "bf16"}));
      EXPECT_EQ(op["source"], "wholestep/ops/conv2d.cpp");
      EXPECT_THAT(op["shapes"].get<std::string>(), HasSubstr("weight [Co, Ci / groups, Kh, Kw]"));
    } else if (op["name"] == "mul") {
      EXPECT_EQ(op["gradient"], "dx = g * y, dy = g * x");
    } else if (op["name"] == "where") {
      EXPECT_EQ(op["dtypes"].size(), 8u);
    }
}

TEST(Bench, PrintsTheFieldsOfTheOtherFrameworksScripts) {
  TempDir dir;
  std::istringstream lines(ok(dir, "bench --work W3,W1 --threads 1 --seconds 0.03 --json").out);
  std::vector<json> results;
  for (std::string line; std::getline(lines, line);) results.push_back(json::parse(line));
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0]["work"], "W3");
  EXPECT_EQ(results[1]["work"], "W1");
  for (const json& j : results) {
    EXPECT_EQ(j["peer"], "wholestep");
    EXPECT_EQ(j["mode"], "step");
    EXPECT_EQ(j["device"], "cpu");
    EXPECT_EQ(j["infer"], false);
    EXPECT_EQ(j["threads"], 1);
    EXPECT_LE(j["lo"].get<double>(), j["steps_s"].get<double>());
    EXPECT_LE(j["steps_s"].get<double>(), j["hi"].get<double>());
    EXPECT_NEAR(j["samples_s"].get<double>() / j["steps_s"].get<double>(), 32, 0.1);
    EXPECT_GT(j["peak_mib"].get<double>(), 1);
  }
  // Of W1 32 convolutions of 3 to 8 channels, 3x3 over 32x32 pixels, forward and for the weight: 28.3 MFLOP,
  // and a tenth of that in everything else.
  double flops = results[1]["gflops_s"].get<double>() * 1e9 / results[1]["steps_s"].get<double>();
  EXPECT_GT(flops, 2 * 2.0 * 32 * 8 * 27 * 1024);
  EXPECT_LT(flops, 1.15 * 2 * 2.0 * 32 * 8 * 27 * 1024);
  EXPECT_EQ(json::parse(ok(dir, "bench --work W1 --seconds 0.03 --infer --json").out)["infer"], true);
  json peaks = json::parse(ok(dir, "bench --peaks --threads 1 --json").out);
  EXPECT_EQ(peaks["threads"], 1);
  EXPECT_GT(peaks["gflops_s"].get<double>(), results[1]["gflops_s"].get<double>())
      << "no step is faster than registers";
}

TEST(Bench, T41SaysNothingOfUtilisationSinceItMeasuresNone) {
  TempDir dir;
  const json bench = json::parse(ok(dir, "bench --work W1 --seconds 0.03 --json").out);
  for (const auto& [key, value] : bench.items()) {
    EXPECT_EQ(key.find("util"), std::string::npos) << key;
    EXPECT_TRUE(!value.is_number_float() || value.get<double>() > 0) << key;
  }
  EXPECT_EQ(ok(dir, "plan w1 --json").out.find("utili"), std::string::npos);
}

TEST(Sanity, T30AModelThatCanLearnOverfitsOneBatch) {
  TempDir dir;
  for (const char* model : {"mlp", "lenet", "simple-cnn"}) {
    json j = ok(dir, std::string("sanity ") + model + " --data digits:train=64,test=1 --json").json();
    EXPECT_EQ(j["passed"], true) << model;
    EXPECT_LT(j["loss"].get<double>(), 0.01);
    EXPECT_NEAR(j["first_loss"].get<double>(), 2.3026, 0.25) << "ln 10 for a model that knows nothing";
    EXPECT_EQ(j["samples"], 64);
  }
}

TEST(Sanity, OneThatCannotFailsWithExitCodeOne) {
  TempDir dir;
  CliResult r = run_cli(
      dir.path(), "sanity mlp --data digits:train=64,test=1 --optimizer sgd --lr 0 --max-steps 20 --json");
  EXPECT_EQ(r.status, 1);
  EXPECT_EQ(r.json()["passed"], false);
  EXPECT_EQ(r.json()["steps"], 20);
  EXPECT_THAT(r.err, HasSubstr("mlp cannot learn a batch of 64 by heart: got loss 2."));
}

class Trained : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir = new TempDir;
    EXPECT_EQ(
        run_cli(dir->path(), "train lenet --data digits:train=3000,test=300 --epochs 2 --out run").status, 0);
    EXPECT_EQ(run_cli(dir->path(), "data convert digits:train=1,test=300 data").status, 0);
  }
  static void TearDownTestSuite() { delete dir; }
  static TempDir* dir;
};
TempDir* Trained::dir = nullptr;

TEST_F(Trained, EvalUsesTheRunsOwnDataAndItsBestCheckpoint) {
  json j = ok(*dir, "eval run --json").json();
  EXPECT_EQ(j["samples"], 300);
  EXPECT_EQ(j["data"], "digits:train=3000,test=300");
  EXPECT_EQ(j["checkpoint"], "run/version_0/checkpoints/best");
  int64_t right = 0, all = 0;
  for (size_t c = 0; c < 10; ++c)
    for (size_t k = 0; k < 10; ++k) {
      all += j["confusion"][c][k].get<int64_t>();
      if (c == k) right += j["confusion"][c][k].get<int64_t>();
    }
  EXPECT_EQ(all, 300);
  EXPECT_DOUBLE_EQ(j["accuracy"].get<double>(), static_cast<double>(right) / 300);
  EXPECT_GT(j["accuracy"].get<double>(), 0.85);
  EXPECT_EQ(ok(*dir, "eval run --part train --json").json()["samples"], 3000);
  EXPECT_EQ(ok(*dir, "eval run --data idx:data --json").json()["accuracy"], j["accuracy"])
      << "the same digits as IDX";
  EXPECT_THAT(ok(*dir, "eval run").out, HasSubstr("most often taken for"));
}

TEST_F(Trained, T9PredictAgreesWithEvalInAFreshProcessWithoutLabels) {
  std::istringstream lines(ok(*dir, "predict run idx:data/t10k-images-idx3-ubyte.gz --json").out);
  IdxArray labels = read_idx(*dir / "data" / "t10k-labels-idx1-ubyte.gz");
  int64_t right = 0, samples = 0;
  for (std::string line; std::getline(lines, line); ++samples) {
    json j = json::parse(line);
    double sum = 0, largest = 0;
    for (const auto& [name, p] : j["probabilities"].items()) {
      sum += p.get<double>();
      largest = std::max(largest, p.get<double>());
    }
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_EQ(j["probability"], largest);
    EXPECT_EQ(j["class"], std::to_string(j["index"].get<int>()));
    right += j["index"] == labels.values[static_cast<size_t>(samples)];
  }
  EXPECT_EQ(samples, 300);
  EXPECT_DOUBLE_EQ(static_cast<double>(right) / 300,
                   ok(*dir, "eval run --json").json()["accuracy"].get<double>());
}

TEST_F(Trained, PicturesRowsAndIdxOfOneSampleGiveOneAnswer) {
  IdxArray images = read_idx(*dir / "data" / "t10k-images-idx3-ubyte.gz");
  Image picture{.height = 28,
                .width = 28,
                .channels = 1,
                .pixels = {images.values.begin(), images.values.begin() + 784}};
  Image large{.height = 84, .width = 84, .channels = 3, .pixels = {}}, inverted = picture;
  std::string row;
  for (int64_t y = 0; y < 84; ++y)
    for (int64_t x = 0; x < 84; ++x)
      for (int c = 0; c < 3; ++c)
        large.pixels.push_back(picture.pixels[static_cast<size_t>(y / 3 * 28 + x / 3)]);
  for (uint8_t& pixel : inverted.pixels) pixel = static_cast<uint8_t>(255 - pixel);
  for (uint8_t pixel : picture.pixels) row += (row.empty() ? "" : ",") + std::to_string(pixel);
  auto save = [&](const std::string& name, const Image& image) {
    write_file(*dir / name, ByteSpan(encode_png(image)));
  };
  save("a.png", picture);
  save("large.png", large);
  save("inverted.png", inverted);
  test::write_file(*dir / "row.csv", row + "\n");
  auto answer = [&](const std::string& arguments) {
    std::string out = ok(*dir, "predict run " + arguments + " --json").out;
    return json::parse(out.substr(0, out.find('\n')))["probabilities"];
  };
  json expected = answer("idx:data/t10k-images-idx3-ubyte.gz");
  EXPECT_EQ(answer("a.png"), expected);
  EXPECT_EQ(answer("large.png"), expected) << "grey from RGB, three times as large";
  EXPECT_EQ(answer("inverted.png --invert"), expected);
  EXPECT_EQ(answer("row.csv"), expected);
  EXPECT_NE(answer("inverted.png"), expected);
  std::string text = ok(*dir, "predict run a.png row.csv --top 2").out;
  EXPECT_EQ(std::ranges::count(text, '\n'), 2);
  EXPECT_THAT(text, HasSubstr("a.png: "));
  EXPECT_THAT(text, HasSubstr("row.csv:1: "));
}

TEST_F(Trained, SummaryReadsCheckpointsToo) {
  EXPECT_EQ(ok(*dir, "summary run --json").json()["parameters"], 61706);
}

TEST(Plan, AProfileTimesEveryRegionAndEveryKernelOfTheStepThatRan) {
  TempDir dir;
  std::string text = ok(dir, "plan w1 --batch-size 8 --profile").out;
  std::string profile = text.substr(text.find(" us a step"));
  std::smatch regions, measured;
  ASSERT_TRUE(std::regex_search(text, regions, std::regex("\n([0-9]+) regions, a barrier behind each")));
  const std::regex region_line("  region +[0-9]+, +[0-9]+ chunks +[0-9.]+ us .* us by the peaks, [0-9]+ %\n");
  EXPECT_EQ(std::distance(std::sregex_iterator(profile.begin(), profile.end(), region_line),
                          std::sregex_iterator()),
            std::stol(regions[1]));
  for (const json& kernel : ok(dir, "plan w1 --batch-size 8 --json").json()["kernels"])
    if (kernel["op"] != "reshape") {
      EXPECT_THAT(profile, HasSubstr(kernel["op"].get<std::string>() + " "));
    }
  // A convolution of 8 x 3 to 8 channels, 3x3, over 32x32 pixels is 3.5 MFLOP forward.
  EXPECT_THAT(profile, testing::ContainsRegex("[0-9]+\\.[0-9][0-9] us x 8     layers.0 conv2d "));
  EXPECT_EQ(run_cli(dir.path(), "plan w1 --profile --json").status, 2);
}

}  // namespace
}  // namespace wholestep
