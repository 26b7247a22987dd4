// A folder of IDX files as a data set.
#include "wholestep/data/idx_folder.h"

#include <fmt/format.h>

#include "wholestep/base/error.h"
#include "wholestep/data/specs.h"
#include "wholestep/io/idx.h"

namespace wholestep {
namespace fs = std::filesystem;
namespace {

fs::path find_file(const fs::path& folder, std::string_view part, std::string_view kind) {
  std::error_code ignored;
  std::string name = std::string(part) + std::string(kind);
  for (const char* ending : {"", ".gz"})
    if (fs::path path = folder / (name + ending); fs::exists(path, ignored)) return path;
  throw Error(ErrorCode::kNoInput,
              {.what = "a data file is missing",
               .where = folder.string(),
               .expected = fmt::format("{} or {}.gz", name, name),
               .hint = fs::is_directory(folder, ignored)
                           ? "the folder needs train-images-idx3-ubyte, train-labels-idx1-ubyte, "
                             "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
                           : "this is not a folder: check the path"});
}

std::vector<std::string> class_names(const fs::path& folder, int64_t classes) {
  std::vector<std::string> names;
  std::error_code ignored;
  if (fs::path path = folder / kIdxClasses; fs::exists(path, ignored)) {
    std::string text = read_text_file(path, 1 << 20);
    for (size_t at = 0; at < text.size();) {
      size_t end = std::min(text.find('\n', at), text.size());
      names.push_back(text.substr(at, end - at));
      at = end + 1;
    }
  } else {
    for (int64_t c = 0; c < classes; ++c) names.push_back(std::to_string(c));
  }
  return names;
}

// Images [N, H, W] are of one channel; [N, C, H, W] and flat rows [N, features] stay as they are.
Shape sample_shape(const Shape& images, const fs::path& path) {
  if (images.rank() < 2 || images.rank() > 4)
    throw Error(ErrorCode::kBadData, {.what = "these are not samples",
                                      .where = path.string(),
                                      .got = "shape " + to_string(images),
                                      .expected = "[N, H, W], [N, C, H, W] or [N, features]"});
  Shape shape(images.extents().subspan(1));
  return shape.rank() == 2 ? Shape{1, shape[0], shape[1]} : shape;
}

std::shared_ptr<const Dataset> read_part(const fs::path& folder, std::string_view part,
                                         const std::vector<std::string>& names) {
  fs::path images_path = find_file(folder, part, kIdxImages),
           labels_path = find_file(folder, part, kIdxLabels);
  IdxArray labels = read_idx(labels_path);
  if (labels.shape.rank() != 1)
    throw Error(ErrorCode::kBadData, {.what = "these are not labels",
                                      .where = labels_path.string(),
                                      .got = "shape " + to_string(labels.shape),
                                      .expected = "[N]"});
  IdxArray images = read_idx(images_path);
  Shape shape = sample_shape(images.shape, images_path);
  if (images.shape[0] != labels.shape[0])
    throw Error(ErrorCode::kBadData, {.what = "images and labels differ in number",
                                      .where = labels_path.string(),
                                      .got = fmt::format("{} labels", labels.shape[0]),
                                      .expected = fmt::format("{}, as many as images in {}", images.shape[0],
                                                              images_path.string())});
  try {
    return std::make_shared<InMemoryDataset>(shape, std::move(images.values),
                                             std::vector<int32_t>(labels.values.begin(), labels.values.end()),
                                             names, labels_path.string());
  } catch (const Error& error) {
    ErrorParts parts = error.parts();
    parts.hint = fmt::format("for another number of classes name them in {}, one a line, or add :classes=K",
                             (folder / kIdxClasses).string());
    throw Error(error.code(), std::move(parts));
  }
}

}  // namespace

DataSplits open_idx_folder(const fs::path& folder, int64_t classes) {
  std::vector<std::string> names = class_names(folder, classes);
  DataSplits splits{.train = read_part(folder, kIdxParts[0], names),
                    .test = read_part(folder, kIdxParts[1], names)};
  const Shape &train = splits.train->sample_shape(), &test = splits.test->sample_shape();
  if (train != test)
    throw Error(ErrorCode::kBadData, {.what = "training and test samples differ in shape",
                                      .where = folder.string(),
                                      .got = to_string(test),
                                      .expected = to_string(train)});
  splits.description = fmt::format("{} train and {} test samples {} from {}", splits.train->size(),
                                   splits.test->size(), to_string(train), folder.string());
  return splits;
}

}  // namespace wholestep
