// Losses: a number per sample, and their mean over the batch.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/graph/tensor.h"
#include "wholestep/nn/module.h"

namespace wholestep::nn {

class Loss {
 public:
  virtual ~Loss() = default;
  virtual std::string_view name() const = 0;  ///< as on the command line: "cross-entropy"
  virtual std::string_view doc() const = 0;
  /// Loss of each sample [N]; kUsage where output and target do not fit.
  virtual Tensor per_sample(const Tensor& output, const Tensor& target) const = 0;
  /// Throws kBadConfig where the model's last layer makes no sense under this loss.
  virtual void check(const Module& model) const { static_cast<void>(model); }
  Tensor operator()(const Tensor& output, const Tensor& target) const;  ///< mean over the batch, a scalar
};

/// -log softmax(output)[target]; output [N, C] logits, target [N] u8, i32 or i64 class labels.
class CrossEntropyLoss final : public Loss {
 public:
  std::string_view name() const override { return "cross-entropy"; }
  std::string_view doc() const override { return "-log softmax(logits)[label], mean over the batch"; }
  Tensor per_sample(const Tensor& output, const Tensor& target) const override;
  void check(const Module& model) const override;  ///< refuses a model that ends in Softmax
};

/// (output - target)^2, mean over all elements; both [N, ...] of one shape and dtype.
class MSELoss final : public Loss {
 public:
  std::string_view name() const override { return "mse"; }
  std::string_view doc() const override { return "(output - target)^2, mean over all elements"; }
  Tensor per_sample(const Tensor& output, const Tensor& target) const override;
};

/// Mean of (output - target)^2 over all elements; shapes must agree, nothing broadcasts.
Tensor mse_loss(const Tensor& output, const Tensor& target);

std::vector<std::unique_ptr<Loss>> all_losses();
/// kBadConfig with the nearest name where there is none.
std::unique_ptr<Loss> make_loss(const std::string& name);

}  // namespace wholestep::nn
