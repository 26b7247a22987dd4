// Writing and reading checkpoints.
#include "wholestep/train/checkpoint.h"

#include <fmt/format.h>

#include <set>

#include "wholestep/io/directory_commit.h"
#include "wholestep/io/files.h"
#include "wholestep/io/hash.h"
#include "wholestep/io/json.h"
#include "wholestep/io/safetensors.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
constexpr const char* kManifest = "manifest.json";
constexpr uint64_t kHeadroomBytes = 1 << 20;  // JSON files, headers, the folder itself

int64_t total_bytes(std::span<const Tensor> tensors) {
  int64_t total = 0;
  for (const Tensor& t : tensors) total += t.type().bytes();
  return total;
}

void write_tensors(const fs::path& path, std::span<const Tensor> tensors) {
  std::vector<NamedBytes> list;
  std::vector<Tensor> host;
  for (const Tensor& t : tensors)
    list.push_back({t.name(), t.type(), host.emplace_back(t.to_host()).bytes()});
  write_safetensors(path, std::move(list));
}

}  // namespace

void save_checkpoint(const fs::path& folder, const CheckpointContent& content) {
  make_directories(folder.parent_path());
  require_free_space(folder.parent_path(), static_cast<uint64_t>(total_bytes(content.model_tensors) +
                                                                 total_bytes(content.state_tensors)) +
                                               kHeadroomBytes);
  DirectoryCommit commit(folder);
  write_tensors(commit.path() / "model.safetensors", content.model_tensors);
  write_tensors(commit.path() / "optimizer.safetensors", content.state_tensors);
  write_file(commit.path() / "trainer_state.json", content.trainer_state.dump(2) + "\n");
  write_file(commit.path() / "config.json", content.config.dump(2) + "\n");
  nlohmann::json files;
  for (const char* name : {"config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json"})
    files[name] = {{"bytes", fs::file_size(commit.path() / name)},
                   {"sha256", sha256_hex_of_file(commit.path() / name)}};
  write_file(commit.path() / kManifest,
             nlohmann::json{{"format", "wholestep checkpoint 1"}, {"files", files}}.dump(2) + "\n");
  commit.commit();
}

void verify_checkpoint(const fs::path& folder) {
  recover_directory(folder);
  if (!fs::exists(folder / kManifest))
    throw Error(
        ErrorCode::kNoInput,
        {.what = "no checkpoint here", .where = folder.string(), .expected = "a folder with manifest.json"});
  nlohmann::json manifest = read_json_file(folder / kManifest);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object())
    throw Error(ErrorCode::kBadData,
                {.what = "the checkpoint's manifest lists no files", .where = (folder / kManifest).string()});
  for (const auto& [name, entry] : manifest["files"].items()) {
    fs::path path = folder / fs::path(name).filename();
    if (!entry.is_object() || !entry.contains("sha256") || !entry["sha256"].is_string())
      throw Error(ErrorCode::kBadData,
                  {.what = "the checkpoint's manifest has no hash for a file", .where = path.string()});
    if (!fs::exists(path))
      throw Error(ErrorCode::kBadData,
                  {.what = "a file of the checkpoint is missing", .where = path.string()});
    if (std::string got = sha256_hex_of_file(path); got != entry["sha256"].get<std::string>())
      throw Error(ErrorCode::kBadData, {.what = "a file of the checkpoint is damaged",
                                        .where = path.string(),
                                        .got = "SHA-256 " + got,
                                        .expected = entry["sha256"].get<std::string>(),
                                        .hint = "use another checkpoint of the run"});
  }
}

nlohmann::json read_checkpoint_json(const fs::path& folder, const std::string& file) {
  return read_json_file(folder / file);
}

void load_tensors(const fs::path& path, std::span<const Tensor> tensors) {
  SafetensorsFile file = SafetensorsFile::open(path);
  std::set<std::string> left;
  for (const std::string& name : file.names()) left.insert(name);
  for (const Tensor& t : tensors) {
    if (!file.contains(t.name()))
      throw Error(ErrorCode::kBadData, {.what = fmt::format("tensor '{}' is missing", t.name()),
                                        .where = path.string(),
                                        .expected = to_string(t.type()),
                                        .hint = "is this a checkpoint of another model or optimizer?"});
    if (file.type(t.name()) != t.type())
      throw Error(ErrorCode::kBadData, {.what = fmt::format("tensor '{}' does not fit the model", t.name()),
                                        .where = path.string(),
                                        .got = to_string(file.type(t.name())),
                                        .expected = to_string(t.type())});
    left.erase(t.name());
  }
  if (!left.empty())
    throw Error(ErrorCode::kBadData,
                {.what = fmt::format("tensor '{}' belongs to nothing in the model", *left.begin()),
                 .where = path.string(),
                 .hint = "is this a checkpoint of another model or optimizer?"});
  for (const Tensor& t : tensors)
    t.write(file.bytes(t.name()));  // all are good: only now is anything changed
}

}  // namespace wholestep
