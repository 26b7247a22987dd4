// Pictures from [C, H, W] samples, arranged on a sheet.
#include "wholestep/data/preview.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "wholestep/base/error.h"
#include "wholestep/base/integers.h"
#include "wholestep/data/bitmap_font.h"
#include "wholestep/data/idx_folder.h"
#include "wholestep/io/idx.h"

namespace wholestep {
namespace {

constexpr int64_t kGap = 4;  // around every picture, in sheet pixels
constexpr int64_t kFontScale = 2;
constexpr int64_t kCaptionHeight = (kGlyphHeight + 2) * kFontScale;
constexpr uint8_t kPaper = 40, kInk = 230;

void check_option(const char* name, int64_t value, int64_t max) {
  if (value < 1 || value > max)
    throw Error(ErrorCode::kUsage, {.what = "sheet option out of range",
                                    .where = name,
                                    .got = std::to_string(value),
                                    .expected = fmt::format("1 to {}", max)});
}

// Copies `picture`, each pixel a square of `scale`, to the place whose upper left corner is (x, y).
void paste(const Image& picture, int64_t x, int64_t y, int64_t scale, Image& sheet) {
  for (int64_t row = 0; row < picture.height * scale; ++row)
    for (int64_t column = 0; column < picture.width * scale; ++column)
      for (int64_t c = 0; c < picture.channels; ++c) {
        int64_t from = ((row / scale) * picture.width + column / scale) * picture.channels + c;
        int64_t to = ((y + row) * sheet.width + x + column) * sheet.channels + c;
        sheet.pixels[static_cast<size_t>(to)] = picture.pixels[static_cast<size_t>(from)];
      }
}

void write_part(const Dataset& dataset, const std::filesystem::path& folder, std::string_view part) {
  const size_t bytes = static_cast<size_t>(dataset.sample_bytes());
  std::vector<uint8_t> pixels(static_cast<size_t>(dataset.size()) * bytes), labels;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    dataset.read(i, std::span(pixels).subspan(labels.size() * bytes, bytes));
    labels.push_back(static_cast<uint8_t>(dataset.label(i)));
  }
  Shape shape{dataset.size()};
  const Shape& sample = dataset.sample_shape();
  const bool grey = sample.rank() == 3 && sample[0] == 1;  // written as MNIST is, without the channel
  for (int axis = grey ? 1 : 0; axis < sample.rank(); ++axis) shape.push_back(sample[axis]);
  write_idx(folder / fmt::format("{}{}.gz", part, kIdxImages), shape, pixels);
  write_idx(folder / fmt::format("{}{}.gz", part, kIdxLabels), {dataset.size()}, labels);
}

}  // namespace

DatasetDescription describe(const Dataset& dataset) {
  DatasetDescription result{.size = dataset.size(),
                            .sample_shape = dataset.sample_shape(),
                            .class_names = dataset.class_names(),
                            .class_counts = std::vector<int64_t>(dataset.class_names().size()),
                            .normalization = {}};
  if (dataset.num_classes() > 0)
    for (int64_t i = 0; i < dataset.size(); ++i) ++result.class_counts[static_cast<size_t>(dataset.label(i))];
  if (dataset.size() > 0) result.normalization = normalization_of(dataset);
  return result;
}

Image sample_image(const Dataset& dataset, int64_t index) {
  const Shape& shape = dataset.sample_shape();
  if (shape.rank() != 3 || (shape[0] != 1 && shape[0] != 3))
    throw Error(ErrorCode::kUsage, {.what = "these samples are no pictures",
                                    .got = "sample shape " + to_string(shape),
                                    .expected = "[1, H, W] or [3, H, W]"});
  std::vector<uint8_t> planes(static_cast<size_t>(shape.numel()));  // [C, H, W]
  dataset.read(index, planes);
  Image image{shape[1], shape[2], shape[0], std::vector<uint8_t>(planes.size())};
  const size_t channels = static_cast<size_t>(shape[0]), plane = planes.size() / channels;
  for (size_t i = 0; i < planes.size(); ++i) image.pixels[i % plane * channels + i / plane] = planes[i];
  return image;
}

Image contact_sheet(const Dataset& dataset, const SheetOptions& options) {
  check_option("columns", options.columns, 256);
  check_option("scale", options.scale, 64);
  std::vector<int64_t> samples = options.samples;
  if (samples.empty()) {
    samples.resize(static_cast<size_t>(std::min(dataset.size(), options.columns * 10)));
    std::iota(samples.begin(), samples.end(), int64_t{0});
  }
  check_option("samples", static_cast<int64_t>(samples.size()), 10000);
  const Image first = sample_image(dataset, samples.front());
  const int64_t count = static_cast<int64_t>(samples.size()), columns = std::min(count, options.columns);
  const int64_t rows = ceil_div(count, columns);
  const int64_t cell_width = first.width * options.scale + kGap;
  const int64_t cell_height = first.height * options.scale + kCaptionHeight + kGap;
  Image sheet{rows * cell_height + kGap, columns * cell_width + kGap, first.channels, {}};
  sheet.pixels.assign(static_cast<size_t>(sheet.height * sheet.width * sheet.channels), kPaper);
  for (int64_t i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(i);
    const int64_t x = kGap + i % columns * cell_width, y = kGap + i / columns * cell_height;
    paste(sample_image(dataset, samples[at]), x, y, options.scale, sheet);
    std::string caption = at < options.captions.size()
                              ? options.captions[at]
                              : dataset.class_names()[static_cast<size_t>(dataset.label(samples[at]))];
    caption.resize(
        std::min(caption.size(), static_cast<size_t>((cell_width - kGap) / (kGlyphWidth * kFontScale))));
    draw_text(sheet, x, y + first.height * options.scale + kFontScale, kFontScale, kInk, caption);
  }
  return sheet;
}

void convert_to_idx(const DataSplits& splits, const std::filesystem::path& folder) {
  if (splits.train->dtype() != DType::u8 || splits.train->num_classes() == 0)
    throw Error(ErrorCode::kUsage,
                {.what = "IDX files hold u8 values with a class each", .got = splits.description});
  if (splits.train->num_classes() > 256)
    throw Error(ErrorCode::kUsage, {.what = "too many classes for IDX labels of one byte",
                                    .got = std::to_string(splits.train->num_classes()),
                                    .expected = "at most 256"});
  make_directories(folder);
  std::string classes;
  for (const std::string& name : splits.train->class_names()) classes += name + "\n";
  write_file(folder / kIdxClasses, classes);
  write_part(*splits.train, folder, kIdxParts[0]);
  write_part(*splits.test, folder, kIdxParts[1]);
}

}  // namespace wholestep
