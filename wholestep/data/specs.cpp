// "name[:path][:key=value,...]" to data.
#include "wholestep/data/specs.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/base/error.h"
#include "wholestep/base/suggest.h"
#include "wholestep/data/csv_table.h"
#include "wholestep/data/digits.h"
#include "wholestep/data/mnist.h"
#include "wholestep/io/config_reader.h"
#include "wholestep/io/toml.h"

namespace wholestep {
namespace {

using nlohmann::json;

const std::vector<std::string> kNames = {"csv", "digits", "idx", "mnist"};

struct Spec {
  std::string name, path;
  json options = json::object();
};

// The last part is options where it holds a '=', so that paths may hold colons.
Spec parse(const std::string& text) {
  Spec spec;
  size_t colon = text.find(':');
  spec.name = text.substr(0, colon);
  if (colon == std::string::npos) return spec;
  std::string rest = text.substr(colon + 1), options;
  size_t last = rest.rfind(':');
  if (size_t start = last == std::string::npos ? 0 : last + 1; rest.find('=', start) != std::string::npos) {
    options = rest.substr(start);
    rest.resize(last == std::string::npos ? 0 : last);
  }
  spec.path = rest;
  for (size_t at = 0; at < options.size();) {
    size_t comma = std::min(options.find(',', at), options.size());
    apply_override(spec.options, std::string_view(options).substr(at, comma - at));
    at = comma + 1;
  }
  return spec;
}

DataSplits open_digits(ConfigReader& options) {
  DigitsConfig config;
  config.train = options.get("train", config.train);
  config.test = options.get("test", config.test);
  config.seed = options.get("seed", config.seed);
  options.finish();
  return make_digits(config);
}

DataSplits open_idx(const Spec& spec, ConfigReader& options) {
  int64_t classes = options.get("classes", int64_t{10}, {.min = 1, .max = 256});
  options.finish();
  if (spec.path.empty())
    throw Error(ErrorCode::kBadConfig,
                {.what = "the data specification names no folder", .got = "idx", .expected = "idx:DIR"});
  return open_idx_folder(spec.path, classes);
}

std::vector<std::string> column_list(const std::string& names) {
  std::vector<std::string> list;
  for (size_t at = 0; at < names.size();) {
    size_t end = std::min(names.find('+', at), names.size());
    list.push_back(names.substr(at, end - at));
    at = end + 1;
  }
  return list;
}

DataSplits open_csv(const Spec& spec, ConfigReader& options) {
  CsvOptions csv;
  csv.classes = options.get("class", csv.classes);
  csv.targets = column_list(options.get("target", ""));
  csv.ignore = column_list(options.get("ignore", ""));
  csv.test = options.get("test", csv.test, {.min = 0, .max = 1});
  csv.seed = options.get("seed", csv.seed);
  options.finish();
  if (spec.path.empty())
    throw Error(
        ErrorCode::kBadConfig,
        {.what = "the data specification names no file", .got = "csv", .expected = "csv:FILE:class=COLUMN"});
  return open_csv(spec.path, csv);
}

DataSplits open_mnist(const MnistSource& source, ConfigReader& options) {
  options.finish();
  return open_idx_folder(mnist_folder(source));
}

}  // namespace

DataSplits open_data(const std::string& text, const MnistSource& mnist) {
  Spec spec = parse(text);
  ConfigReader options(spec.options, fmt::format("data '{}'", text));
  bool takes_path = spec.name == "csv" || spec.name == "idx";
  if (!spec.path.empty() && !takes_path && std::ranges::find(kNames, spec.name) != kNames.end())
    throw Error(ErrorCode::kBadConfig, {.what = "this data takes no path",
                                        .got = fmt::format("'{}'", text),
                                        .expected = fmt::format("{}, or options as key=value", spec.name)});
  if (spec.name == "csv") return open_csv(spec, options);
  if (spec.name == "digits") return open_digits(options);
  if (spec.name == "idx") return open_idx(spec, options);
  if (spec.name == "mnist") return open_mnist(mnist, options);
  throw Error(ErrorCode::kBadConfig, {.what = "unknown data",
                                      .got = fmt::format("'{}'", text),
                                      .expected = "digits, csv:FILE, idx:DIR or mnist",
                                      .hint = suggest(spec.name, kNames)});
}

DType dtype_of_data(const std::string& spec) { return parse(spec).name == "csv" ? DType::f32 : DType::u8; }

bool targets_are_numbers(const std::string& text) {
  Spec spec = parse(text);
  return spec.name == "csv" && spec.options.contains("target");
}

}  // namespace wholestep
