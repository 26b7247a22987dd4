// Looking at a data set: figures about it, a sheet of its pictures, and a copy of it as IDX files.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "wholestep/data/dataset.h"
#include "wholestep/data/transforms.h"
#include "wholestep/io/image.h"

namespace wholestep {

struct DatasetDescription {
  int64_t size = 0;
  Shape sample_shape;
  std::vector<std::string> class_names;
  std::vector<int64_t> class_counts;  ///< samples of each class
  Normalization normalization;        ///< empty for a dataset without samples
};
DatasetDescription describe(const Dataset& dataset);

/// One sample as a picture: grey or RGB by its channels. kUsage for a sample that is no [1 or 3, H, W].
Image sample_image(const Dataset& dataset, int64_t index);

struct SheetOptions {
  int64_t columns = 16;
  int64_t scale = 2;                       ///< picture pixels a side for one sample pixel
  std::vector<int64_t> samples = {};       ///< which; empty: the first columns * 10
  std::vector<std::string> captions = {};  ///< under each; empty: the class name
};
/// The samples side by side with their captions. kUsage as sample_image(), and for options out of range.
Image contact_sheet(const Dataset& dataset, const SheetOptions& options = {});

/// Writes both parts as gzip-packed IDX files and classes.txt, which open_data("idx:FOLDER") reads back
/// equal. Makes the folder. kUsage for more than 256 classes, kIo.
void convert_to_idx(const DataSplits& splits, const std::filesystem::path& folder);

}  // namespace wholestep
