// How a traced step gets its batch: slots the host writes, or a gather from samples that lie beside the
// parameters.
#pragma once
#include <span>
#include <string>
#include <utility>

#include "wholestep/compile/compile.h"
#include "wholestep/data/loader.h"
#include "wholestep/data/transforms.h"

namespace wholestep {

/// f32 (x - mean[c]) / std[c] of samples [N, C, ...], x being f32, or u8 divided by 255.
Tensor normalize(const Tensor& samples, const Normalization& normalization);

/// f32 (t - mean) / std of targets [N, T] that are numbers: what a model estimates; and such estimates as
/// numbers in the units of the data. Both leave their operand as it is where the normalization has no
/// targets.
Tensor standardize_targets(const Tensor& targets, const Normalization& normalization);
Tensor in_units_of_data(const Tensor& estimates, const Normalization& normalization);

/// Slots "pixels" u8 or "features" f32 [batch, sample...], and "labels" i32 [batch] or "targets" f32
/// [batch, targets].
std::pair<Tensor, Tensor> batch_slots(Graph& graph, const SampleType& sample, int64_t batch);
/// Copies a batch into the slots of a step, through `feed` where there is one; kUsage where it does not fill
/// them.
void write_batch(CompiledStep& step, const SampleType& sample, const Batch& batch, Feed* feed = nullptr);

/// A dataset on the device: steps take the next samples in `order`, wherever `position` stands.
class ResidentData {
 public:
  ResidentData() = default;
  /// `dataset` has resident() and outlives this object. `name` prefixes its state tensors.
  ResidentData(const Dataset& dataset, const std::string& name);
  bool defined() const { return values_.defined(); }

  /// Records the gather of the next batch and the move of the position: what batch_slots() would give.
  std::pair<Tensor, Tensor> next(int64_t batch) const;
  void set_order(std::span<const int64_t> samples);
  void set_position(int64_t position) { position_.write(std::as_bytes(std::span(&position, 1))); }
  int64_t position() const { return position_.item<int64_t>(); }

 private:
  ResidentSamples samples_;
  Tensor values_, targets_, order_, position_;
};

}  // namespace wholestep
