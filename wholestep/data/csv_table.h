// Rows of numbers out of a CSV file with a header: f32 features, and a column of classes or columns of
// numbers to be estimated.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "wholestep/data/dataset.h"

namespace wholestep {

/// Which columns of the file are what, by the names in its header; one of `classes` and `targets` is given.
struct CsvOptions {
  std::string classes = {};               ///< the column whose texts are the classes
  std::vector<std::string> targets = {};  ///< the columns whose numbers are estimated
  std::vector<std::string> ignore = {};   ///< columns that are left out; all others are features
  double test = 0.2;                      ///< share of the rows in the test part, drawn at random
  uint64_t seed = 0;                      ///< of that draw; rows of classes are drawn class by class
};

/// Both parts, held in memory. Classes are in the order of their names, numbers before words. kBadConfig for
/// a column that is not there (suggesting the nearest) or for options that leave no features; kNoInput;
/// kBadData naming file, line and column for a value that is missing or no number, a row of another length,
/// and a file without rows or over 1 GiB.
DataSplits open_csv(const std::filesystem::path& path, const CsvOptions& options);

/// The features of the rows of a file, [rows, names.size()], in the order of `names`; other columns are left
/// out. Errors as above. `lines` gets the place of each row, "rows.csv:2".
std::vector<float> read_csv_features(const std::filesystem::path& path, const std::vector<std::string>& names,
                                     std::vector<std::string>& lines);

}  // namespace wholestep
