#include "wholestep/backend/cuda_runtime/libraries.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "wholestep/backend/backend.h"
#include "wholestep/backend/cuda_runtime/check.h"
#include "wholestep/backend/cuda_runtime/queue.h"
#include "wholestep/backend/disk_cache.h"
#include "wholestep/base/fingerprint.h"
#include "wholestep/base/philox.h"

namespace wholestep {
namespace {

/// Operands to try algorithms on, in memory of their own.
class Trial {
 public:
  explicit Trial(const LibraryCall& call) : what_("trying an algorithm for " + text(call)) {
    int64_t bytes = 0;
    auto part = [&](int64_t of_part) {
      const int64_t at = bytes;
      bytes += aligned(of_part);
      return at;
    };
    const LibraryBytes of = std::visit([](const auto& each) { return each.bytes(); }, call);
    const int64_t a = part(of.a), b = part(of.b), bias = part(of.bias), d = part(of.d), scratch = bytes;
    bytes += scratch_bytes(call);
    void* memory = nullptr;
    if (cudaMalloc(&memory, static_cast<size_t>(bytes)) != cudaSuccess) {
      cudaGetLastError();
      return;
    }
    memory_ = static_cast<std::byte*>(memory);
    at_ = {memory_ + a, memory_ + b, memory_ + bias, memory_ + d, memory_ + scratch};
    result_bytes_ = scratch - d;
    const std::vector<double> f64 = random_values();
    const std::vector<float> f32(f64.begin(), f64.end());
    const std::span<const std::byte> values =
        std::visit([](const auto& each) { return each.dtype; }, call) == DType::f64
            ? std::as_bytes(std::span(f64))
            : std::as_bytes(std::span(f32));
    for (int64_t at = 0; at < scratch; at += static_cast<int64_t>(values.size()))  // the gaps of d, too
      copy(memory_ + at, values.data(), std::min<int64_t>(static_cast<int64_t>(values.size()), scratch - at),
           cudaMemcpyHostToDevice);
  }
  ~Trial() { cudaFree(memory_); }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  explicit operator bool() const { return memory_ != nullptr; }

  static constexpr float kNever = std::numeric_limits<float>::infinity();
  /// Microseconds of one run, the least of three; a fault, or a refusal, is no time at all.
  float time(const LibraryAlgorithm& algorithm) {
    float least = kNever;
    CudaEvent begin(cudaEventDefault), end(cudaEventDefault);
    for (int round = 0; round < 4; ++round) {  // the first one loads it
      cudaEventRecord(begin.get(), stream_.get());
      try {
        algorithm.run(at_, stream_.get());
      } catch (const Error&) {
        return kNever;
      }
      cudaEventRecord(end.get(), stream_.get());
      check_cuda(cudaEventSynchronize(end.get()), what_);
      float milliseconds = 0;
      cudaEventElapsedTime(&milliseconds, begin.get(), end.get());
      if (round > 0) least = std::min(least, milliseconds * 1000);
    }
    return least;
  }
  /// What the last run left: all of it, or pieces from everywhere.
  std::vector<std::byte> result() {
    constexpr int64_t kPieces = 16, kPiece = int64_t{1} << 20;
    const int64_t piece = std::min(kPiece, result_bytes_), step = (result_bytes_ - piece) / (kPieces - 1);
    std::vector<std::byte> bytes(static_cast<size_t>(kPieces * piece));
    for (int64_t i = 0; i < kPieces; ++i)
      copy(bytes.data() + i * piece, static_cast<const std::byte*>(at_.d) + i * step, piece,
           cudaMemcpyDeviceToHost);
    return bytes;
  }

 private:
  void copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
    check_cuda(cudaMemcpy(to, from, static_cast<size_t>(bytes), kind), what_);
  }
  static std::vector<double> random_values() {
    PhiloxStream random(1, 2);
    std::vector<double> values(1 << 20);
    for (double& value : values) value = random.uniform(-1, 1);
    return values;
  }

  std::string what_;
  CudaStream stream_;
  std::byte* memory_ = nullptr;
  LibraryOperands at_ = {};
  int64_t result_bytes_ = 0;
};

/// The number of the fastest algorithm that gives the bits of the first that runs.
size_t fastest(Trial& trial, const Proposals& algorithms) {
  size_t best = 0;
  float least = Trial::kNever;
  std::vector<std::byte> bits;
  for (size_t i = 0; i < algorithms.size(); ++i) {
    const float time = trial.time(*algorithms[i]);
    if (time >= least) continue;
    std::vector<std::byte> result = trial.result();
    if (bits.empty()) bits = std::move(result);
    else if (result != bits) continue;
    least = time, best = i;
  }
  return best;
}

}  // namespace

std::shared_ptr<const LibraryAlgorithm> CudaLibraries::prepare(const LibraryCall& call) {
  std::lock_guard lock(mutex_);
  auto& prepared = prepared_[text(call)];
  if (!prepared) prepared = choose(call);
  return prepared;
}

std::shared_ptr<const LibraryAlgorithm> CudaLibraries::choose(const LibraryCall& call) {
  const auto* product = std::get_if<CudaProduct>(&call);
  const Proposals algorithms =
      product ? products_.propose(*product) : convolutions_.propose(std::get<CudaConvolution>(call));
  if (algorithms.size() == 1) return algorithms[0];
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device_), "asking what the device is like");
  const DiskCache cache("cuda");
  const std::string version = product ? products_.version() : convolutions_.version(), what = text(call),
                    name = fingerprint(std::array<std::string_view, 3>{properties.name, version, what}) +
                           ".algorithm";
  // The number of the algorithm, and what only a file that was written whole holds.
  auto kept_as = [&](size_t number) {
    const std::string digits = std::to_string(number);
    return digits + " " + fingerprint(std::array<std::string_view, 2>{name, digits}) + "\n";
  };
  const std::vector<std::byte> kept = cache.read(name);
  for (size_t i = 0; i < algorithms.size(); ++i)
    if (const std::string line = kept_as(i); std::ranges::equal(kept, std::as_bytes(std::span(line))))
      return algorithms[i];
  Trial trial(call);
  if (!trial) return algorithms[0];
  const size_t best = fastest(trial, algorithms);
  const std::string choice = kept_as(best);
  cache.write(name, std::as_bytes(std::span(choice)));
  return algorithms[best];
}

}  // namespace wholestep
