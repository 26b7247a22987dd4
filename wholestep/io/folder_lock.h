// One process per folder: a lock that the system releases when its holder dies, with the holder's process id
// inside for the message.
#pragma once
#include <filesystem>

#include "wholestep/io/descriptor.h"

namespace wholestep {

class FolderLock {
 public:
  /// Takes `folder`/.lock, also one left by a process that died. kIo naming the process that holds it, or
  /// where the folder cannot be written.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::filesystem::path path_;
  Descriptor file_;
};

}  // namespace wholestep
