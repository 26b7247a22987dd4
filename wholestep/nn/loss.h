// Loss: what training minimises, as a function of a model's output and a target. Derive from it for one of
// your own; those that files and the command line can name are made from configs.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/io/config_fields.h"
#include "wholestep/nn/module.h"

namespace wholestep::nn {

class Loss {
 public:
  virtual ~Loss() = default;
  virtual std::string_view name() const = 0;  ///< as on the command line: "cross-entropy"
  virtual std::string description() const { return std::string(name()); }

  /// What PyTorch gives with the reduction "none": [N], or of the output's shape where the loss is one of
  /// elements. kUsage where output and target do not fit.
  virtual Tensor unreduced(const Tensor& output, const Tensor& target) const = 0;
  /// What the mean divides the sum of unreduced() by, a scalar of its dtype; undefined for the number of its
  /// elements.
  virtual Tensor total_weight(const Tensor& output, const Tensor& target) const {
    return static_cast<void>(output), static_cast<void>(target), Tensor();
  }
  /// "mean", "sum" or "none"; also "batchmean", the sum over N.
  virtual std::string_view reduction() const { return "mean"; }
  /// The target that class labels [N] stand for under an output [N, C]: the labels themselves, or for losses
  /// of elements one_hot() of them.
  virtual Tensor target_of(const Tensor& labels, const Tensor& output) const {
    return static_cast<void>(output), labels;
  }
  /// Probabilities of the classes [N, C] that an output stands for: softmax, unless the loss means something
  /// else by it. Losses that apply sigmoid make two classes of one column.
  virtual Tensor probabilities(const Tensor& output) const;
  /// Whether outputs [N, T] under this loss estimate numbers [N, T], as data without classes has them.
  virtual bool regresses() const { return false; }
  /// Throws kBadConfig where the model's last layer makes no sense under this loss.
  virtual void check(const Module& model) const { static_cast<void>(model); }

  /// unreduced(), reduced: but for "none" their sum over divisor().
  Tensor operator()(const Tensor& output, const Tensor& target) const;
  /// What the sum of `losses`, which are unreduced(output, target), is divided by: a scalar of their dtype.
  Tensor divisor(const Tensor& losses, const Tensor& output, const Tensor& target) const;
  Tensor per_sample(const Tensor& output, const Tensor& target) const;  ///< [N]: means of unreduced()
  Tensor classes(const Tensor& output) const;                           ///< i64 [N]: the most probable ones
};

/// Config: kType, kDoc, reduction, fields().
template <class ConfigStruct>
class ConfiguredLoss : public Loss {
 public:
  using Config = ConfigStruct;
  explicit ConfiguredLoss(Config config = {})
      : config_(checked_config(std::string("loss ") + Config::kType, std::move(config))) {}
  const Config& config() const { return config_; }
  std::string_view name() const override { return Config::kType; }
  std::string description() const override {
    return std::string(Config::kType) + "(" + print_config(config_) + ")";
  }
  std::string_view reduction() const override { return config_.reduction; }

 private:
  Config config_;
};

/// The field `reduction`, which every config of a loss ends with.
ConfigField reduction_field(std::string& reduction);

/// Bool [N, classes]: true in the column of the row's label; labels [N] u8, i32 or i64.
Tensor class_mask(const Tensor& labels, int64_t classes);
/// [N, C] of `like`'s dtype: 1 in the column of the row's label, else 0. For one column the
/// label itself, so that 0 and 1 are two classes.
Tensor one_hot_like(const Tensor& labels, const Tensor& like);

/// Of one column p, the probability of class 1, those of both classes; otherwise p.
Tensor two_columns(const Tensor& p);

/// kUsage naming the loss unless both have one shape and floating-point dtype: nothing broadcasts.
void check_same_type(std::string_view loss, const Tensor& output, const Tensor& target);

/// kBadConfig for a model that ends in Linear or Softmax under a loss of log-probabilities, where PyTorch
/// would train on numbers that mean nothing.
void check_log_probabilities(std::string_view loss, const Module& model);

/// kBadConfig naming the loss unless it regresses().
void check_regresses(const Loss& loss);

const std::vector<ConfigType<Loss>>& loss_types();  ///< those that files can name
/// From {"type": "cross-entropy", "label_smoothing": 0.1}; null where problems are left in the reader.
std::unique_ptr<Loss> read_loss(ConfigReader& reader);

}  // namespace wholestep::nn
