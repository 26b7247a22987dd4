// Data by name, as the command line writes it:
//   digits[:train=N,test=N,seed=S]   the built-in generated digits
//   idx:DIR[:classes=K]              IDX files named as MNIST's, plain or .gz
//   csv:FILE:class=COLUMN            rows of numbers with a column of classes, see data/csv_table.h
//   csv:FILE:target=COLUMN           the same with numbers to be estimated; of several columns target=A+B.
//                                    Both take ignore=A+B, test=SHARE, seed=S
//   mnist                            MNIST from the user's data folder, downloaded where absent
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "wholestep/data/dataset.h"

namespace wholestep {

/// Where `mnist` is kept and fetched from.
struct MnistSource {
  std::filesystem::path folder;      ///< empty: $XDG_DATA_HOME/wholestep/mnist, or ~/.local/share/...
  std::vector<std::string> mirrors;  ///< addresses of folders, tried in order; empty: the known public ones
  bool may_download = true;
  /// Called several times a second while a file is fetched; false stops.
  std::function<bool(const std::string& file, uint64_t done_bytes, uint64_t total_bytes)> progress;
};

/// The forms above in a line, for help texts.
constexpr const char* kDataForms =
    "digits[:train=N,test=N,seed=S], csv:FILE:class=COLUMN, csv:FILE:target=COLUMN, idx:DIR or mnist";

/// Opens the data. kBadConfig for a specification that names none of the above (suggesting the nearest) or
/// has a wrong option; kNoInput saying which files are missing where; kBadData naming file and sample for
/// content that does not fit: counts of images and labels, shapes of the two parts, a label out of range.
DataSplits open_data(const std::string& spec, const MnistSource& mnist = {});

/// What the values of its samples are, without opening it: f32 of a table, u8 of all else.
DType dtype_of_data(const std::string& spec);
/// Whether its targets are numbers, not classes, without opening it.
bool targets_are_numbers(const std::string& spec);

/// The folder behind idx:DIR: {train,t10k}-images-idx3-ubyte and -labels-idx1-ubyte, each also with .gz,
/// images [N, H, W] or [N, C, H, W]. The classes are the lines of DIR/classes.txt where it exists, else "0"
/// to classes - 1.
DataSplits open_idx_folder(const std::filesystem::path& folder, int64_t classes = 10);

}  // namespace wholestep
