// Data sets in memory and on disk, their statistics, splits and previews, and what is refused.
#include "wholestep/data/dataset.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "support/expect_error.h"
#include "support/http_server.h"
#include "support/temp_dir.h"
#include "wholestep/data/preview.h"
#include "wholestep/data/sampler.h"
#include "wholestep/data/specs.h"
#include "wholestep/data/transforms.h"
#include "wholestep/io/idx.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::TempDir;

const std::filesystem::path kMnist = std::filesystem::path(WHOLESTEP_SOURCE_DIR) / "../shared/data/mnist";

std::vector<uint8_t> counting(size_t count) {
  std::vector<uint8_t> values(count);
  std::iota(values.begin(), values.end(), uint8_t{0});
  return values;
}

std::shared_ptr<const Dataset> small(std::vector<int32_t> labels = {0, 1, 2, 1}) {
  size_t n = labels.size();
  return std::make_shared<InMemoryDataset>(Shape{1, 2, 3}, counting(n * 6), std::move(labels),
                                           std::vector<std::string>{"a", "b", "c"}, "small");
}

// A folder of 5 training and 3 test samples.
void write_folder(const std::filesystem::path& folder, std::vector<uint8_t> labels = {0, 1, 2, 3, 9}) {
  write_idx(folder / "train-images-idx3-ubyte", {5, 2, 3}, counting(30));
  write_idx(folder / "train-labels-idx1-ubyte", {static_cast<int64_t>(labels.size())}, labels);
  write_idx(folder / "t10k-images-idx3-ubyte.gz", {3, 2, 3}, counting(18));
  write_idx(folder / "t10k-labels-idx1-ubyte.gz", {3}, std::vector<uint8_t>{4, 5, 6});
}

TEST(InMemoryDataset, GivesBackItsSamples) {
  auto data = small();
  std::vector<uint8_t> out(6);
  data->read(2, out);
  EXPECT_EQ(out, (std::vector<uint8_t>{12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(data->label(2), 2);
  EXPECT_EQ(data->num_classes(), 3);
  EXPECT_EQ(data->resident()->pixels.size(), 24u);
  EXPECT_EQ(data->resident()->row(3), 3);
  expect_error(ErrorCode::kUsage, {"got 4", "0 to 3"}, [&] { data->read(4, out); });
  expect_error(ErrorCode::kUsage, {"got -1"}, [&] { data->label(-1); });
}

TEST(InMemoryDataset, T8DataOfAnotherLengthThanItsShapeIsATypedError) {
  expect_error(ErrorCode::kBadData, {"small", "23 values", "24 for 4 samples [1, 2, 3]"}, [] {
    InMemoryDataset({1, 2, 3}, counting(23), {0, 0, 0, 0}, {"a"}, "small");
  });
  expect_error(ErrorCode::kBadData, {"0 values"}, [] {
    InMemoryDataset({1, 64, 64}, {}, {0}, {"a"}, "small");
  });
  std::vector<uint8_t> wrong(5);
  expect_error(ErrorCode::kUsage, {"room for 5 values", "6 for [1, 2, 3]"}, [&] { small()->read(0, wrong); });
}

TEST(InMemoryDataset, T67InvalidLabelIsAnErrorWithItsIndex) {
  expect_error(ErrorCode::kBadData, {"label out of range", "small: sample 2", "got 3", "0 to 2"}, [] {
    small({0, 1, 3, -1});
  });
  expect_error(ErrorCode::kBadData, {"small: sample 1", "got -1"}, [] { small({0, -1, 3}); });
}

TEST(Subset, SharesTheSamplesOfTheWhole) {
  auto part = subset(small(), {3, 1});
  std::vector<uint8_t> out(6);
  part->read(0, out);
  EXPECT_EQ(out[0], 18);
  EXPECT_EQ(part->size(), 2);
  EXPECT_EQ(part->resident()->row(0), 3);
  auto smaller = subset(part, {1});
  EXPECT_EQ(smaller->resident()->row(0), 1);
  smaller->read(0, out);
  EXPECT_EQ(out[0], 6);
  expect_error(ErrorCode::kUsage, {"got 4"}, [] { subset(small(), {4}); });
}

TEST(Sampler, T77AnEpochHoldsEveryIndexExactlyOnce) {
  for (int64_t n : {0, 1, 2, 1000, 60000}) {
    std::vector<int64_t> order(static_cast<size_t>(n));
    for (int64_t epoch : {0, 1, 7}) {
      epoch_order(3, epoch, true, order);
      EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), static_cast<size_t>(n));
      EXPECT_TRUE(std::ranges::all_of(order, [&](int64_t i) { return i >= 0 && i < n; }));
    }
  }
}

TEST(Sampler, OrdersDifferByEpochAndSeedAndAreRepeatable) {
  auto order = [](uint64_t seed, int64_t epoch, bool shuffle) {
    std::vector<int64_t> values(100);
    epoch_order(seed, epoch, shuffle, values);
    return values;
  };
  EXPECT_EQ(order(1, 2, true), order(1, 2, true));
  EXPECT_NE(order(1, 2, true), order(1, 3, true));
  EXPECT_NE(order(1, 2, true), order(2, 2, true));
  std::vector<int64_t> rising(100);
  std::iota(rising.begin(), rising.end(), 0);
  EXPECT_EQ(order(1, 2, false), rising);
}

TEST(Sampler, EveryPositionIsEquallyLikelyAfterAShuffle) {
  std::array<std::array<int, 4>, 4> counts{};
  std::array<int64_t, 4> order;
  for (int64_t epoch = 0; epoch < 8000; ++epoch) {
    epoch_order(9, epoch, true, order);
    for (size_t i = 0; i < 4; ++i) ++counts[i][static_cast<size_t>(order[i])];
  }
  for (const auto& row : counts)
    for (int count : row) EXPECT_NEAR(count, 2000, 200);
}

TEST(Sampler, SplitsAreDisjointCompleteAndStratified) {
  IndexSplit split = split_indices(100, 30, 1);
  EXPECT_EQ(split.validation.size(), 30u);
  std::set<int64_t> all(split.train.begin(), split.train.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(split.train.size(), 70u);
  EXPECT_NE(split_indices(100, 30, 2).validation, split.validation);
  expect_error(ErrorCode::kUsage, {"got 101", "0 to 100"}, [] { split_indices(100, 101, 1); });

  std::vector<int32_t> labels(110, 0);  // 100 of class 0, 7 of class 1, 3 of class 2
  std::fill(labels.begin() + 100, labels.begin() + 107, 1);
  std::fill(labels.begin() + 107, labels.end(), 2);
  auto data = small(labels);
  IndexSplit even = split_stratified(*data, 11, 4);
  std::array<int, 3> counts{};
  for (int64_t i : even.validation) ++counts[static_cast<size_t>(data->label(i))];
  EXPECT_EQ(counts, (std::array<int, 3>{10, 1, 0}));  // shares 10, 0.7 and 0.3
  EXPECT_EQ(even.train.size() + even.validation.size(), 110u);
  EXPECT_EQ(split_stratified(*data, 110, 4).train.size(), 0u);
}

TEST(Normalization, EqualsTheTwoPassFormula) {
  InMemoryDataset data({2, 1, 2}, {0, 255, 10, 10, 100, 45, 10, 10}, {0, 0}, {"a"}, "x");
  Normalization n = normalization_of(data);
  EXPECT_FLOAT_EQ(n.mean[0], 100.0f / 255);
  EXPECT_FLOAT_EQ(n.std[0],
                  static_cast<float>(std::sqrt((100. * 100 + 155. * 155 + 0 + 55. * 55) / 4) / 255));
  EXPECT_FLOAT_EQ(n.mean[1], 10.0f / 255);
  EXPECT_EQ(n.std[1], 1.0f);
  EXPECT_THROW(normalization_of(*small({})), Error);
}

TEST(IdxFolder, OpensPlainAndPackedFiles) {
  TempDir folder;
  write_folder(folder.path());
  DataSplits data = open_data("idx:" + folder.path().string());
  EXPECT_EQ(data.train->size(), 5);
  EXPECT_EQ(data.test->size(), 3);
  EXPECT_EQ(data.train->sample_shape(), (Shape{1, 2, 3}));
  EXPECT_EQ(data.train->label(4), 9);
  EXPECT_EQ(data.test->label(2), 6);
  EXPECT_EQ(data.train->num_classes(), 10);
}

TEST(IdxFolder, MissingFilesCountsLabelsAndShapesAreErrorsThatSayWhere) {
  TempDir folder;
  std::string spec = "idx:" + folder.path().string();
  expect_error(ErrorCode::kNoInput, {"train-images-idx3-ubyte.gz", folder.path().string()},
               [&] { open_data(spec); });
  expect_error(ErrorCode::kNoInput, {"not a folder"}, [&] { open_data(spec + "/none"); });
  write_folder(folder.path(), {0, 1, 2, 3});
  expect_error(ErrorCode::kBadData, {"differ in number", "4 labels", "expected 5", "train-labels"},
               [&] { open_data(spec); });
  write_folder(folder.path());
  write_idx(folder / "t10k-images-idx3-ubyte.gz", {3, 3, 2}, counting(18));
  expect_error(ErrorCode::kBadData, {"differ in shape", "[1, 3, 2]"}, [&] { open_data(spec); });
  write_idx(folder / "t10k-images-idx3-ubyte.gz", {18}, counting(18));
  expect_error(ErrorCode::kBadData, {"not samples", "[18]"}, [&] { open_data(spec); });
}

TEST(IdxFolder, T67LabelsOutOfRangeAreErrorsWithFileAndIndex) {
  TempDir folder;
  write_folder(folder.path(), {0, 1, 10, 3, 200});
  std::string spec = "idx:" + folder.path().string();
  expect_error(ErrorCode::kBadData, {"train-labels-idx1-ubyte: sample 2", "got 10", "0 to 9", ":classes=K"},
               [&] { open_data(spec); });
  EXPECT_EQ(open_data(spec + ":classes=201").train->num_classes(), 201);
  test::write_file(folder / "classes.txt", "cat\ndog\n");
  expect_error(ErrorCode::kBadData, {"got 10", "0 to 1"}, [&] { open_data(spec); });
}

TEST(IdxFolder, T68ACorruptFileIsReportedByName) {
  TempDir folder;
  write_folder(folder.path());
  std::string packed = test::read_file(folder / "t10k-images-idx3-ubyte.gz");
  for (size_t length = 0; length < packed.size(); ++length) {
    test::write_file(folder / "t10k-images-idx3-ubyte.gz", packed.substr(0, length));
    expect_error(ErrorCode::kBadData, {"t10k-images-idx3-ubyte.gz"}, [&] { open_idx_folder(folder.path()); });
  }
}

TEST(Specs, UnknownDataAndOptionsSuggestTheNearest) {
  expect_error(ErrorCode::kBadConfig, {"'digist'", "did you mean 'digits'?"}, [] { open_data("digist"); });
  expect_error(ErrorCode::kBadConfig, {"'trian'", "did you mean 'train'?"},
               [] { open_data("digits:trian=5"); });
  expect_error(ErrorCode::kBadConfig, {"'train' got \"many\""}, [] { open_data("digits:train=many"); });
  expect_error(ErrorCode::kBadConfig, {"takes no path"}, [] { open_data("digits:somewhere"); });
  expect_error(ErrorCode::kBadConfig, {"idx:DIR"}, [] { open_data("idx"); });
  DataSplits digits = open_data("digits:train=7,test=3,seed=2");
  EXPECT_EQ(digits.train->size(), 7);
  EXPECT_EQ(digits.test->size(), 3);
}

TEST(Mnist, HasTheRecordedCounts) {
  if (!std::filesystem::exists(kMnist)) GTEST_SKIP() << "no ../shared/data/mnist beside the sources";
  DataSplits mnist = open_data("idx:" + kMnist.string());
  DatasetDescription train = describe(*mnist.train), test = describe(*mnist.test);
  EXPECT_EQ(train.size, 60000);
  EXPECT_EQ(train.sample_shape, (Shape{1, 28, 28}));
  EXPECT_EQ(train.class_counts,
            (std::vector<int64_t>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949}));
  EXPECT_EQ(test.class_counts, (std::vector<int64_t>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}));
  EXPECT_NEAR(train.normalization.mean[0], 0.1307, 5e-5);  // the figures every MNIST example uses
  EXPECT_NEAR(train.normalization.std[0], 0.3081, 5e-5);
}

TEST(Mnist, IsFoundInTheDataFolderOrTheMessageSaysWhatToPutWhere) {
  TempDir folder;
  expect_error(ErrorCode::kNoInput,
               {"not on this machine",
                "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz",
                "into " + folder.path().string(), "--data digits"},
               [&] {
                 open_data("mnist",
                           {.folder = folder.path(), .mirrors = {}, .may_download = false, .progress = {}});
               });
  write_folder(folder.path());
  EXPECT_EQ(open_data("mnist", {.folder = folder.path(), .mirrors = {}, .progress = {}}).train->size(), 5);
}

TEST(Mnist, AWrongDownloadIsRefusedAndTheNextMirrorTried) {
  ::setenv("no_proxy", "127.0.0.1", 1);
  TempDir folder;
  test::HttpServer wrong("not MNIST"), absent("");
  absent.status = 404;
  std::vector<std::string> mirrors = {wrong.url() + "/", absent.url() + "/"};
  expect_error(ErrorCode::kNoInput, {"could not be fetched", "404", "put train-images-idx3-ubyte.gz"},
               [&] { open_data("mnist", {.folder = folder.path(), .mirrors = mirrors, .progress = {}}); });
  EXPECT_EQ(wrong.requests, 1);
  EXPECT_EQ(absent.requests, 1);
  EXPECT_FALSE(std::filesystem::exists(folder / "train-images-idx3-ubyte.gz"));
}

TEST(Convert, WritesAFolderThatOpensEqual) {
  TempDir folder;
  InMemoryDataset rgb({3, 2, 2}, counting(24), {0, 1}, {"cat", "dog"}, "x");
  DataSplits data{.train = std::make_shared<InMemoryDataset>(rgb),
                  .test = subset(std::make_shared<InMemoryDataset>(rgb), {1})};
  convert_to_idx(data, folder / "out");
  DataSplits back = open_idx_folder(folder / "out");
  EXPECT_EQ(back.train->sample_shape(), (Shape{3, 2, 2}));
  EXPECT_EQ(back.train->class_names(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(back.test->size(), 1);
  EXPECT_EQ(back.test->label(0), 1);
  std::vector<uint8_t> pixels(12);
  back.test->read(0, pixels);
  EXPECT_EQ(pixels[0], 12);

  DataSplits digits = open_data("digits:train=20,test=5");
  convert_to_idx(digits, folder / "digits");
  DataSplits again = open_data("idx:" + (folder / "digits").string());
  EXPECT_EQ(again.train->sample_shape(), (Shape{1, 28, 28}));
  EXPECT_TRUE(std::ranges::equal(again.train->resident()->pixels, digits.train->resident()->pixels));
  EXPECT_TRUE(std::ranges::equal(again.train->resident()->labels, digits.train->resident()->labels));
}

TEST(Preview, TheSheetHoldsEverySampleAndItsCaption) {
  InMemoryDataset rgb({3, 2, 2}, {1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24}, {1}, {"a", "8"}, "x");
  Image one = sample_image(rgb, 0);
  EXPECT_EQ(one.pixels, (std::vector<uint8_t>{1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24}));
  Image sheet = contact_sheet(rgb, {.scale = 8, .samples = {0, 0, 0}});
  EXPECT_EQ(sheet.width, 3 * (2 * 8 + 4) + 4);
  EXPECT_EQ(sheet.height, 2 * 8 + 14 + 4 + 4);
  auto red = [&](int64_t y, int64_t x) {
    return sheet.pixels[static_cast<size_t>((y * sheet.width + x) * 3)];
  };
  EXPECT_EQ(red(4, 4), 1);
  EXPECT_EQ(red(4 + 15, 4 + 15), 4);
  EXPECT_EQ(red(4 + 15, 24 + 15), 4);
  EXPECT_EQ(red(0, 0), 40);
  EXPECT_EQ(red(22, 4), 230);  // the upper left corner of the 8 below the first sample
  EXPECT_EQ(red(24, 6), 40);   // its hole
  EXPECT_NO_THROW(encode_png(sheet));
  EXPECT_THROW(contact_sheet(rgb, {.scale = 0}), Error);
  InMemoryDataset rows({4}, {1, 2, 3, 4}, {0}, {"a"}, "x");
  expect_error(ErrorCode::kUsage, {"no pictures", "[4]"}, [&] { sample_image(rows, 0); });
}

}  // namespace
}  // namespace wholestep
