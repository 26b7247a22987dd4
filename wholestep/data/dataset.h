// What training reads: samples of u8 values with a class label each, or rows of f32 features with a class or
// numbers to be estimated.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wholestep/base/dtype.h"
#include "wholestep/base/shape.h"

namespace wholestep {

/// One sample as a step reads it: values of a dtype, and its target, which is a class label (i32) or
/// `targets` numbers (f32).
struct SampleType {
  SampleType(Shape sample_shape, DType values = DType::u8, int64_t numbers = 0)
      : shape(sample_shape), dtype(values), targets(numbers) {}
  SampleType(std::initializer_list<int64_t> u8_values) : SampleType(Shape(u8_values)) {}
  Shape shape;
  DType dtype;
  int64_t targets;  ///< 0: the target is a class
};

/// Samples that lie in memory as rows, for training that keeps them on the device and gathers by row number.
struct ResidentSamples {
  std::span<const uint8_t> pixels;  ///< bytes of the values [rows, sample_shape...]
  std::span<const int32_t> labels;  ///< [rows]; empty where targets are numbers
  std::span<const float> targets;   ///< [rows, num_targets]; empty where targets are classes
  std::span<const int64_t> row_of;  ///< row of sample i; empty: sample i is row i
  int64_t row(int64_t index) const { return row_of.empty() ? index : row_of[static_cast<size_t>(index)]; }
};

/// A fixed set of samples. Every function is safe to call from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual const Shape& sample_shape() const = 0;                    ///< for pictures [C, H, W]
  virtual DType dtype() const { return DType::u8; }                 ///< of a sample's values: u8 or f32
  virtual const std::vector<std::string>& class_names() const = 0;  ///< empty where targets are numbers
  virtual int32_t label(int64_t index) const = 0;                   ///< 0 to class_names().size() - 1
  /// The numbers to be estimated, as many as target_names(); none where the target is a class.
  virtual std::span<const float> targets(int64_t index) const {
    return static_cast<void>(index), std::span<const float>();
  }
  /// Names of the columns of a table, for features those along the sample's axis; empty elsewhere.
  virtual const std::vector<std::string>& feature_names() const { return no_names(); }
  virtual const std::vector<std::string>& target_names() const { return no_names(); }
  /// Writes the bytes of the sample's values, sample_bytes() of them, to `out`. kBadData naming the sample's
  /// file where it has one, kUsage where `out` has another size.
  virtual void read(int64_t index, std::span<uint8_t> out) const = 0;
  /// The samples where they are held in memory, valid while this object lives.
  virtual std::optional<ResidentSamples> resident() const { return std::nullopt; }

  int64_t sample_bytes() const { return sample_shape().numel() * size_bytes(dtype()); }
  int64_t num_classes() const { return static_cast<int64_t>(class_names().size()); }
  int64_t num_targets() const { return static_cast<int64_t>(target_names().size()); }
  SampleType sample_type() const { return {sample_shape(), dtype(), num_targets()}; }

 private:
  static const std::vector<std::string>& no_names();
};

class InMemoryDataset final : public Dataset {
 public:
  /// `pixels` is [labels.size(), sample_shape...]. `source` names the data in errors: kBadData where the
  /// number of values does not fit, or a label is outside 0 to class_names.size() - 1 (naming its index).
  InMemoryDataset(Shape sample_shape, std::vector<uint8_t> pixels, std::vector<int32_t> labels,
                  std::vector<std::string> class_names, const std::string& source);
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  const Shape& sample_shape() const override { return sample_shape_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int32_t label(int64_t index) const override;
  void read(int64_t index, std::span<uint8_t> out) const override;
  std::optional<ResidentSamples> resident() const override;

 private:
  Shape sample_shape_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
  std::vector<std::string> class_names_;
};

/// The samples `indices` of `dataset`, in that order, without copying them. kUsage where an index is out of
/// range.
std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> dataset, std::vector<int64_t> indices);

/// What a data specification opens: the same sample shape and classes in both parts.
struct DataSplits {
  std::shared_ptr<const Dataset> train, test;
  std::string description =
      {};  ///< one line for a person: "60000 train and 10000 test samples [1, 28, 28] from ..."
};

/// Throws kUsage naming the index and the size where `index` is not a sample's.
void check_sample_index(int64_t index, int64_t size);
/// Throws kUsage where a sample of `dataset` does not have `bytes` bytes.
void check_sample_bytes(const Dataset& dataset, size_t bytes);

}  // namespace wholestep
