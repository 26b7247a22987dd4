// Labels to one-hot targets, inside the step.
#include "wholestep/train/class_loss.h"

#include <numeric>
#include <vector>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

/// [N, C] of `like`'s dtype: 1 where the column is the row's label.
Tensor one_hot(const Tensor& labels, const Tensor& like) {
  std::vector<int32_t> columns(static_cast<size_t>(like.dim(1)));
  std::iota(columns.begin(), columns.end(), 0);
  Tensor column = tensor(columns, {1, like.dim(1)});
  return cast(equal(reshape(cast(labels, DType::i32), {labels.dim(0), 1}), column), like.dtype());
}

class OneHotLoss final : public nn::Loss {
 public:
  explicit OneHotLoss(std::unique_ptr<nn::Loss> inner) : inner_(std::move(inner)) {}
  std::string_view name() const override { return inner_->name(); }
  std::string_view doc() const override { return inner_->doc(); }
  void check(const nn::Module& model) const override { inner_->check(model); }
  Tensor per_sample(const Tensor& output, const Tensor& labels) const override {
    return inner_->per_sample(output, one_hot(labels, output));
  }

 private:
  std::unique_ptr<nn::Loss> inner_;
};

}  // namespace

std::unique_ptr<nn::Loss> make_class_loss(const std::string& name) {
  std::unique_ptr<nn::Loss> loss = nn::make_loss(name);
  if (dynamic_cast<const nn::MSELoss*>(loss.get())) return std::make_unique<OneHotLoss>(std::move(loss));
  return loss;
}

}  // namespace wholestep
