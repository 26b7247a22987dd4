// One reader a kind of file.
#include "wholestep/cli/sample_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "wholestep/base/error.h"
#include "wholestep/data/csv_table.h"
#include "wholestep/io/csv.h"
#include "wholestep/io/files.h"
#include "wholestep/io/idx.h"
#include "wholestep/io/resize.h"

namespace wholestep::cli {
namespace {

constexpr uint64_t kMaxCsvBytes = uint64_t{256} << 20;

std::string lower_extension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

void read_picture(const std::string& path, const Shape& input, bool invert, NamedSamples& samples) {
  if (input.rank() != 3 || (input[0] != 1 && input[0] != 3))
    throw Error(ErrorCode::kUsage, {.what = "the model does not take pictures",
                                    .where = path,
                                    .got = "input " + to_string(input),
                                    .expected = "[1, H, W] or [3, H, W]",
                                    .hint = "give rows of numbers as .csv"});
  Image picture = read_image(path);
  picture = resize_box(input[0] == 1 ? to_grey(picture) : to_rgb(picture), input[1], input[2]);
  for (int64_t c = 0; c < input[0]; ++c)  // [H, W, C] to [C, H, W]
    for (size_t i = static_cast<size_t>(c); i < picture.pixels.size(); i += static_cast<size_t>(input[0]))
      samples.pixels.push_back(invert ? static_cast<uint8_t>(255 - picture.pixels[i]) : picture.pixels[i]);
  samples.names.push_back(path);
}

void read_csv(const std::string& path, const Shape& input, NamedSamples& samples) {
  std::string text = read_text_file(path, kMaxCsvBytes);
  CsvReader reader(text, path);
  for (std::vector<std::string> fields; reader.next(fields);) {
    samples.names.push_back(reader.where());
    for (size_t i = 0; i < fields.size(); ++i) {
      const std::string& field = fields[i];
      int number = -1;
      auto [stop, failed] = std::from_chars(field.data(), field.data() + field.size(), number);
      if (failed != std::errc() || stop != field.data() + field.size() || number < 0 || number > 255)
        throw Error(ErrorCode::kBadData, {.what = "this is no value of a sample",
                                          .where = fmt::format("{}, column {}", reader.where(), i + 1),
                                          .got = fmt::format("'{}'", field.substr(0, 20)),
                                          .expected = "a whole number 0 to 255"});
      samples.pixels.push_back(static_cast<uint8_t>(number));
    }
    if (std::ssize(fields) != input.numel())
      throw Error(ErrorCode::kBadData, {.what = "the row does not fit the model",
                                        .where = reader.where(),
                                        .got = fmt::format("{} values", fields.size()),
                                        .expected = std::to_string(input.numel())});
  }
}

void read_table(const std::string& path, const std::vector<std::string>& features, NamedSamples& samples) {
  std::vector<std::string> lines;
  std::vector<float> values = read_csv_features(path, features, lines);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(values.data());
  samples.pixels.insert(samples.pixels.end(), bytes, bytes + values.size() * sizeof(float));
  samples.names.insert(samples.names.end(), lines.begin(), lines.end());
}

void read_idx_samples(const std::string& path, const Shape& input, NamedSamples& samples) {
  IdxArray array = read_idx(path);
  int64_t count = array.shape.rank() > 0 ? array.shape[0] : 0;
  if (array.shape.rank() < 2 || array.shape.numel() != count * input.numel())
    throw Error(ErrorCode::kBadData,
                {.what = "the samples do not fit the model",
                 .where = path,
                 .got = to_string(array.shape),
                 .expected = fmt::format("[N, ...] with {} values a sample", input.numel())});
  samples.pixels.insert(samples.pixels.end(), array.values.begin(), array.values.end());
  for (int64_t i = 0; i < count; ++i) samples.names.push_back(fmt::format("{}:{}", path, i));
}

}  // namespace

void read_samples(const std::string& argument, const TrainedModel& model, bool invert,
                  NamedSamples& samples) {
  const Shape& input = model.model.input;
  if (!model.features.empty()) {
    if (lower_extension(argument) == ".csv") return read_table(argument, model.features, samples);
    throw Error(
        ErrorCode::kUsage,
        {.what = "the model takes rows of a table", .where = argument, .expected = "*.csv with a header"});
  }
  if (argument.starts_with("idx:")) return read_idx_samples(argument.substr(4), input, samples);
  std::string extension = lower_extension(argument);
  if (extension == ".csv") return read_csv(argument, input, samples);
  if (extension == ".png" || extension == ".jpg" || extension == ".jpeg")
    return read_picture(argument, input, invert, samples);
  throw Error(ErrorCode::kUsage, {.what = "cannot tell what kind of file this is",
                                  .where = argument,
                                  .expected = "*.png, *.jpg, *.jpeg, *.csv or idx:FILE"});
}

}  // namespace wholestep::cli
