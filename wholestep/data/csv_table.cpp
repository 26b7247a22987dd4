// The columns that are wanted, read in one pass; then rows dealt to the two parts.
#include "wholestep/data/csv_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "wholestep/base/error.h"
#include "wholestep/base/suggest.h"
#include "wholestep/data/sampler.h"
#include "wholestep/io/csv.h"
#include "wholestep/io/files.h"

namespace wholestep {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

/// Of every row the numbers of some columns, and the texts of at most one.
struct Columns {
  std::vector<float> numbers;  // [rows, numeric columns]
  std::vector<std::string> texts, lines;
};

class TableDataset final : public Dataset {
 public:
  int64_t size() const override { return rows; }
  const Shape& sample_shape() const override { return shape; }
  DType dtype() const override { return DType::f32; }
  const std::vector<std::string>& class_names() const override { return classes; }
  const std::vector<std::string>& feature_names() const override { return features; }
  const std::vector<std::string>& target_names() const override { return target_columns; }
  int32_t label(int64_t index) const override {
    check_sample_index(index, rows);
    if (labels.empty())
      throw Error(ErrorCode::kUsage, {.what = "the rows have no class, their targets are numbers"});
    return labels[static_cast<size_t>(index)];
  }
  std::span<const float> targets(int64_t index) const override {
    check_sample_index(index, rows);
    size_t width = target_columns.size();
    return std::span(target_values).subspan(static_cast<size_t>(index) * width, width);
  }
  void read(int64_t index, std::span<uint8_t> out) const override {
    check_sample_index(index, rows);
    check_sample_bytes(*this, out.size());
    std::memcpy(out.data(), values.data() + static_cast<size_t>(index) * features.size(), out.size());
  }
  std::optional<ResidentSamples> resident() const override {
    return ResidentSamples{
        .pixels = {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)},
        .labels = labels,
        .targets = target_values,
        .row_of = {}};
  }

  int64_t rows = 0;
  Shape shape;
  std::vector<std::string> classes, features, target_columns;
  std::vector<float> values, target_values;  // [rows, features], [rows, targets]
  std::vector<int32_t> labels;
};

std::string read_text(const std::filesystem::path& path) { return read_text_file(path, kMaxBytes); }

std::vector<std::string> read_header(CsvReader& reader, const std::filesystem::path& path) {
  std::vector<std::string> header;
  if (!reader.next(header))
    throw Error(ErrorCode::kBadData, {.what = "the file is empty",
                                      .where = path.string(),
                                      .expected = "a line of column names, then a row a line"});
  for (size_t i = 0; i < header.size(); ++i)
    if (std::find(header.begin(), header.begin() + static_cast<long>(i), header[i]) !=
        header.begin() + static_cast<long>(i))
      throw Error(ErrorCode::kBadData, {.what = "two columns have one name",
                                        .where = reader.where(),
                                        .got = fmt::format("'{}'", header[i])});
  return header;
}

size_t index_of(const std::vector<std::string>& header, const std::string& name, const std::string& where) {
  auto found = std::ranges::find(header, name);
  if (found == header.end())
    throw Error(ErrorCode::kBadConfig, {.what = "the file has no such column",
                                        .where = where,
                                        .got = fmt::format("'{}'", name),
                                        .hint = suggest(name, header)});
  return static_cast<size_t>(found - header.begin());
}

float number_of(const std::string& field, const std::string& column, const std::string& where) {
  float number = 0;
  if (parse_number(field, number)) return number;
  std::string hint =
      fmt::format("a column of words is left out with ignore={0}, or predicted with class={0}", column);
  throw Error(
      ErrorCode::kBadData,
      {.what = field.empty() ? "a value is missing" : "a value is no number",
       .where = fmt::format("{}, column '{}'", where, column),
       .got = fmt::format("'{}'", field.substr(0, 40)),
       .expected = "a finite number",
       .hint = field.empty() ? "rows with missing values are not trained on: fill them in or remove them"
                             : hint});
}

/// The rows behind the header.
Columns read_columns(CsvReader& reader, const std::vector<std::string>& header,
                     const std::vector<size_t>& numeric, std::optional<size_t> text) {
  Columns columns;
  std::vector<std::string> fields;
  while (reader.next(fields)) {
    std::string where = reader.where();
    if (fields.size() != header.size())
      throw Error(ErrorCode::kBadData, {.what = "a row has another number of fields than the header",
                                        .where = where,
                                        .got = std::to_string(fields.size()),
                                        .expected = std::to_string(header.size())});
    for (size_t c : numeric) columns.numbers.push_back(number_of(fields[c], header[c], where));
    if (text) {
      if (fields[*text].empty()) number_of("", header[*text], where);
      columns.texts.push_back(fields[*text]);
    }
    columns.lines.push_back(std::move(where));
  }
  if (columns.lines.empty())
    throw Error(ErrorCode::kBadData,
                {.what = "the file has no rows behind its header", .where = reader.where()});
  return columns;
}

/// By value where all are numbers ("2" before "10"), else by text.
std::vector<std::string> sorted_classes(const std::vector<std::string>& texts) {
  std::vector<std::string> names = texts;
  auto key = [](const std::string& name) {
    float number = 0;
    bool is_number = parse_number(name, number);
    return std::tuple(!is_number, number, name);
  };
  std::ranges::sort(names, {}, key);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::shared_ptr<TableDataset> read_table(const std::filesystem::path& path, const CsvOptions& options) {
  std::string text = read_text(path);
  CsvReader reader(text, path.string());
  std::vector<std::string> header = read_header(reader, path);
  std::string where = reader.where();
  auto table = std::make_shared<TableDataset>();
  std::vector<bool> used(header.size());
  std::vector<size_t> numeric;
  std::optional<size_t> classes;
  auto use = [&](const std::string& name) {
    size_t index = index_of(header, name, where);
    if (used[index])
      throw Error(ErrorCode::kBadConfig,
                  {.what = "a column is named twice", .where = where, .got = fmt::format("'{}'", name)});
    used[index] = true;
    return index;
  };
  for (const std::string& name : options.ignore) use(name);
  if (!options.classes.empty()) classes = use(options.classes);
  for (const std::string& name : options.targets) numeric.push_back(use(name));
  for (size_t c = 0; c < header.size(); ++c)
    if (!used[c]) numeric.push_back(c), table->features.push_back(header[c]);
  if (table->features.empty())
    throw Error(ErrorCode::kBadConfig, {.what = "no column is left as a feature", .where = where});

  Columns columns = read_columns(reader, header, numeric, classes);
  table->rows = static_cast<int64_t>(columns.lines.size());
  table->shape = {static_cast<int64_t>(table->features.size())};
  table->target_columns = options.targets;
  for (size_t i = 0; i < columns.numbers.size(); ++i)
    (i % numeric.size() < options.targets.size() ? table->target_values : table->values)
        .push_back(columns.numbers[i]);
  if (classes) table->classes = sorted_classes(columns.texts);
  std::map<std::string, int32_t> label_of;
  for (const std::string& name : table->classes)
    label_of.emplace(name, static_cast<int32_t>(label_of.size()));
  for (const std::string& name : columns.texts) table->labels.push_back(label_of.at(name));
  return table;
}

}  // namespace

DataSplits open_csv(const std::filesystem::path& path, const CsvOptions& options) {
  if (options.classes.empty() == options.targets.empty())
    throw Error(ErrorCode::kBadConfig,
                {.what = "a table needs one kind of column to predict",
                 .where = path.string(),
                 .got = options.classes.empty() ? "neither class nor target" : "class and target",
                 .expected = "class=COLUMN, or target=COLUMN for numbers (several as target=A+B)"});
  std::shared_ptr<const TableDataset> table = read_table(path, options);
  int64_t test = std::llround(options.test * static_cast<double>(table->rows));
  IndexSplit split = table->labels.empty() ? split_indices(table->rows, test, options.seed)
                                           : split_stratified(*table, test, options.seed);
  DataSplits splits{.train = subset(table, std::move(split.train)),
                    .test = subset(table, std::move(split.validation))};
  splits.description = fmt::format("{} train and {} test rows {} from {}", splits.train->size(),
                                   splits.test->size(), to_string(table->shape), path.string());
  return splits;
}

std::vector<float> read_csv_features(const std::filesystem::path& path, const std::vector<std::string>& names,
                                     std::vector<std::string>& lines) {
  std::string text = read_text(path);
  CsvReader reader(text, path.string());
  std::vector<std::string> header = read_header(reader, path);
  std::vector<size_t> numeric;
  for (const std::string& name : names) numeric.push_back(index_of(header, name, reader.where()));
  Columns columns = read_columns(reader, header, numeric, {});
  lines = std::move(columns.lines);
  return std::move(columns.numbers);
}

}  // namespace wholestep
