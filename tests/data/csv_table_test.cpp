// Tables out of CSV files: what is a feature, a class and a target, the two parts, and what is refused.
#include "wholestep/data/csv_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/data/loader.h"
#include "wholestep/data/preview.h"
#include "wholestep/data/specs.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::TempDir;
using Names = std::vector<std::string>;

const std::string kSmall =
    "id,size,\"age, years\",kind,price\n"
    "1,10,3,10,1.5\n"
    "2,20,5,9,2.5\n"
    "3,30,7,word,-3.5\n"
    "4,40,9,9,4e2\n";

struct Table {
  TempDir dir;
  std::string spec;
  explicit Table(const std::string& text, const std::string& options) {
    test::write_file(dir / "t.csv", text);
    spec = "csv:" + (dir / "t.csv").string() + ":" + options;
  }
  DataSplits open() const { return open_data(spec); }
};

std::vector<float> values_of(const Dataset& data, int64_t index) {
  std::vector<float> values(static_cast<size_t>(data.sample_shape().numel()));
  data.read(index, {reinterpret_cast<uint8_t*>(values.data()), values.size() * sizeof(float)});
  return values;
}

TEST(CsvTable, TakesColumnsByName) {
  Table table(kSmall, "target=price,ignore=id+kind,test=0");
  DataSplits data = table.open();
  EXPECT_EQ(data.train->size(), 4);
  EXPECT_EQ(data.test->size(), 0);
  EXPECT_EQ(data.train->feature_names(), (Names{"size", "age, years"}));
  EXPECT_EQ(data.train->target_names(), Names{"price"});
  EXPECT_EQ(data.train->num_classes(), 0);
  EXPECT_EQ(data.train->dtype(), DType::f32);
  EXPECT_EQ(data.train->sample_shape(), Shape{2});
  EXPECT_EQ(values_of(*data.train, 2), (std::vector<float>{30, 7}));
  EXPECT_EQ(data.train->targets(3)[0], 400.0f);
  expect_error(ErrorCode::kUsage, {"the rows have no class"}, [&] { data.train->label(0); });
  expect_error(ErrorCode::kUsage, {"got 4", "0 to 3"}, [&] { data.train->targets(4); });
}

TEST(CsvTable, SeveralTargetsKeepTheOrderTheyAreNamedIn) {
  Table table(kSmall, "target=price+size,ignore=kind,test=0");
  DataSplits data = table.open();
  EXPECT_EQ(data.train->target_names(), (Names{"price", "size"}));
  EXPECT_EQ(data.train->feature_names(), (Names{"id", "age, years"}));
  EXPECT_EQ(std::vector<float>(data.train->targets(1).begin(), data.train->targets(1).end()),
            (std::vector<float>{2.5, 20}));
  EXPECT_EQ(values_of(*data.train, 1), (std::vector<float>{2, 5}));
}

TEST(CsvTable, ClassesAreSortedNumbersFirst) {
  Table table(kSmall, "class=kind,ignore=id,test=0");
  DataSplits data = table.open();
  EXPECT_EQ(data.train->class_names(), (Names{"9", "10", "word"}));
  EXPECT_EQ(data.train->num_targets(), 0);
  Names labels;
  for (int64_t i = 0; i < 4; ++i)
    labels.push_back(data.train->class_names()[static_cast<size_t>(data.train->label(i))]);
  EXPECT_EQ(labels, (Names{"10", "9", "word", "9"}));
  EXPECT_TRUE(data.train->targets(0).empty());
}

TEST(CsvTable, PartsAreDisjointCompleteAndDrawnByTheSeed) {
  std::string text = "x,c\n";
  for (int i = 0; i < 100; ++i) text += std::to_string(i) + "," + (i < 80 ? "a" : "b") + "\n";
  auto rows = [&](const std::string& options) {
    Table table(text, "class=c," + options);
    DataSplits data = table.open();
    std::set<float> train, test;
    std::map<int32_t, int> classes;
    for (int64_t i = 0; i < data.train->size(); ++i) train.insert(values_of(*data.train, i)[0]);
    for (int64_t i = 0; i < data.test->size(); ++i) {
      test.insert(values_of(*data.test, i)[0]);
      ++classes[data.test->label(i)];
    }
    EXPECT_EQ(classes[0], 4 * classes[1]);
    for (float x : test) EXPECT_FALSE(train.contains(x));
    EXPECT_EQ(train.size() + test.size(), 100u);
    return test;
  };
  EXPECT_EQ(rows("test=0.25").size(), 25u);
  EXPECT_EQ(rows("seed=0").size(), 20u);
  EXPECT_EQ(rows("seed=3"), rows("seed=3"));
  EXPECT_NE(rows("seed=3"), rows("seed=4"));
  EXPECT_EQ(rows("test=1").size(), 100u);
}

TEST(CsvTable, BatchesHoldTargetsOrLabels) {
  Table numbers(kSmall, "target=price+size,ignore=kind,test=0"), classes(kSmall, "class=kind,test=0");
  for (int workers : {0, 2}) {
    DataLoader loader(numbers.open().train, {.batch_size = 3, .num_workers = workers});
    const Batch* batch = loader.next();
    EXPECT_TRUE(batch->labels.empty());
    EXPECT_EQ(std::vector<float>(batch->targets.begin(), batch->targets.end()),
              (std::vector<float>{1.5, 10, 2.5, 20, -3.5, 30}));
    EXPECT_EQ(batch->pixels.size(), 3 * 2 * sizeof(float));
    batch = loader.next();
    EXPECT_EQ(std::vector<float>(batch->targets.begin(), batch->targets.end()),
              (std::vector<float>{400, 40}));
    DataLoader labelled(classes.open().train, {.batch_size = 4, .num_workers = workers});
    batch = labelled.next();
    EXPECT_TRUE(batch->targets.empty());
    EXPECT_EQ(std::vector<int32_t>(batch->labels.begin(), batch->labels.end()),
              (std::vector<int32_t>{1, 0, 2, 0}));
  }
}

TEST(CsvTable, FeaturesHaveAMeanAndADeviationEach) {
  Table table("a,b,c,y\n1000001,1,5,0\n1000002,1,-5,0\n1000003,1,6,0\n", "target=y,test=0");
  Normalization n = normalization_of(*table.open().train);
  ASSERT_EQ(n.mean.size(), 3u);
  EXPECT_FLOAT_EQ(n.mean[0], 1000002);
  EXPECT_FLOAT_EQ(n.std[0], std::sqrt(2.0f / 3));  // of all samples, as for pictures
  EXPECT_FLOAT_EQ(n.mean[1], 1);
  EXPECT_FLOAT_EQ(n.std[1], 1);  // without variation
  EXPECT_FLOAT_EQ(n.mean[2], 2);
  EXPECT_FLOAT_EQ(n.std[2], std::sqrt(74.0f / 3));
}

TEST(CsvTable, FeaturesAreReadByNameForPrediction) {
  TempDir dir;
  test::write_file(dir / "p.csv", "note,b,a\nhello,2,1\n\n\"x,y\",4,3\n");
  Names lines;
  EXPECT_EQ(read_csv_features(dir / "p.csv", {"a", "b"}, lines), (std::vector<float>{1, 2, 3, 4}));
  std::string file = (dir / "p.csv").string();
  EXPECT_EQ(lines, (Names{file + ":2", file + ":4"}));
  expect_error(ErrorCode::kBadConfig, {"no such column", ":1", "got 'aa'", "did you mean 'a'?"},
               [&] { read_csv_features(dir / "p.csv", {"aa"}, lines); });
}

TEST(CsvTable, SaysWhatIsWrongWithFileLineAndColumn) {
  struct Case {
    std::string text, options;
    ErrorCode code;
    std::initializer_list<std::string> pieces;
  };
  const ErrorCode data = ErrorCode::kBadData, config = ErrorCode::kBadConfig;
  const Case cases[] = {
      {"a,y\n1,2\n,3\n",
       "target=y",
       data,
       {"a value is missing", "t.csv:3, column 'a'", "got ''", "fill them in or remove them"}},
      {"a,y\n1,2\n1,NA\n", "target=y", data, {"a value is no number", "t.csv:3, column 'y'", "got 'NA'"}},
      {"a,y\n1,2\nnan,1\n", "target=y", data, {"t.csv:3, column 'a'", "got 'nan'", "a finite number"}},
      {"a,y\n1,2\nred,1\n", "target=y", data, {"got 'red'", "ignore=a", "class=a"}},
      {"a,y\n1,\n", "class=y", data, {"a value is missing", "t.csv:2, column 'y'"}},
      {"a,y\n1,2,3\n", "target=y", data, {"another number of fields", "t.csv:2", "got 3, expected 2"}},
      {"a,y\n", "target=y", data, {"no rows behind its header"}},
      {"", "target=y", data, {"the file is empty", "t.csv"}},
      {"a,a,y\n1,2,3\n", "target=y", data, {"two columns have one name", "t.csv:1", "got 'a'"}},
      {"a,y\n\"1,2\n", "target=y", data, {"a quoted field does not end", "t.csv:2"}},
      {"a,price\n1,2\n", "target=pric", config, {"no such column", "got 'pric'", "did you mean 'price'?"}},
      {"a,y\n1,2\n", "target=y,ignore=a", config, {"no column is left as a feature"}},
      {"a,y\n1,2\n", "target=y+y", config, {"a column is named twice", "got 'y'"}},
      {"a,y\n1,2\n", "test=0.5", config, {"got neither class nor target", "class=COLUMN", "target=COLUMN"}},
      {"a,y\n1,2\n", "class=a,target=y", config, {"got class and target"}},
      {"a,y\n1,2\n", "target=y,test=2", config, {"test"}},
      {"a,y\n1,2\n", "targets=y", config, {"targets", "did you mean 'target'?"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text + c.options);
    Table table(c.text, c.options);
    expect_error(c.code, c.pieces, [&] { table.open(); });
  }
  expect_error(ErrorCode::kNoInput, {"/nowhere.csv"}, [] { open_data("csv:/nowhere.csv:target=y"); });
  expect_error(config, {"names no file", "csv:FILE"}, [] { open_data("csv"); });
}

TEST(CsvTable, IsNoPictureAndNoIdxFile) {
  Table table(kSmall, "target=price,ignore=kind,test=0.5");
  DataSplits data = table.open();
  DatasetDescription d = describe(*data.train);
  EXPECT_EQ(d.size, 2);
  EXPECT_TRUE(d.class_counts.empty());
  EXPECT_EQ(d.normalization.mean.size(), 3u);
  expect_error(ErrorCode::kUsage, {"no pictures"}, [&] { sample_image(*data.train, 0); });
  expect_error(ErrorCode::kUsage, {"IDX files hold u8 values with a class each"},
               [&] { convert_to_idx(data, table.dir / "idx"); });
}

}  // namespace
}  // namespace wholestep
