// Writes a folder as one unit: everything goes into a folder aside, which then takes the place of an older
// one in a single exchange, so that at every moment, also after a power cut, a complete folder of that name
// exists.
#pragma once
#include <filesystem>

#include "wholestep/io/descriptor.h"

namespace wholestep {

class DirectoryCommit {
 public:
  /// Makes an empty folder beside `target` to write into, and removes what writers that died left there.
  /// The folder that holds `target` must exist. kIo.
  explicit DirectoryCommit(std::filesystem::path target);
  ~DirectoryCommit();  ///< without commit(): removes what was written, and `target` is untouched
  DirectoryCommit(const DirectoryCommit&) = delete;
  DirectoryCommit& operator=(const DirectoryCommit&) = delete;

  const std::filesystem::path& path() const { return aside_; }  ///< write the files here, before commit()

  /// Flushes every file and folder, puts the folder in place of `target`, flushes that, and removes the old
  /// one. Once. kIo.
  void commit();

 private:
  std::filesystem::path target_, aside_;
  Descriptor lock_;  // held while this writer lives: how others tell it from litter
};

/// Completes or undoes what a dead writer left half done beside `target`, and removes its files. Readers call
/// it before opening `target`; DirectoryCommit does so itself.
void recover_directory(const std::filesystem::path& target);

}  // namespace wholestep
