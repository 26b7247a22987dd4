// What each common misuse is answered, word for word: one row each.
#include <gtest/gtest.h>

#include <functional>

#include "wholestep/graph/grad.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/train_step.h"

namespace wholestep {
namespace {

struct Misuse {
  const char* name;
  std::function<void()> action;
  const char* message;  ///< without the place in this file
};

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    std::string message = error.what();
    const std::string file = "misuse_messages_test.cpp:";
    for (size_t at; (at = message.find(file)) != std::string::npos;) {
      size_t end = at + file.size();
      while (end < message.size() && std::isdigit(static_cast<unsigned char>(message[end]))) ++end;
      message.replace(at, end - at, "HERE");
    }
    return message;
  }
  return "no error";
}

Tensor leaf(const std::vector<float>& values) {
  return tensor(values, {static_cast<int64_t>(values.size())}).set_requires_grad();
}

nn::Sequential ending_in(auto layer) {
  return nn::Sequential(nn::Linear({.in_features = 4, .out_features = 2}), std::move(layer));
}
nn::Sequential plain() { return nn::Sequential(nn::Linear({.in_features = 4, .out_features = 2})); }

void step_of(nn::Module& model, const nn::Loss& loss) {
  optim::SGD sgd({.lr = 0.1});
  sgd.attach(model.parameters());
  TrainStep(model, loss, sgd, {4}, {.normalization = {{0}, {1}}});
}

const Misuse kMisuses[] = {
    {"shapes of a product",
     [] {
       matmul(zeros({2, 3}), zeros({2, 3}));
     },
     "inner extents of matmul differ (matmul of a f32[2, 3], b f32[2, 3]): got 3 and 2, expected [2, 3] x "
     "[2, 3] with equal inner extents"},
    {"shapes of an addition",
     [] {
       zeros({2, 3}) + zeros({2});
     },
     "shapes do not broadcast (add of x f32[2, 3], y f32[2]): got [2, 3] and [2], expected equal extents, or "
     "1, counted from the last axis"},
    {"a shape of another size",
     [] {
       reshape(zeros({2, 3}), {4, 2});
     },
     "reshape changes the number of elements (reshape of x f32[2, 3]): got [2, 3] to [4, 2]"},
    {"parts that differ beside the axis",
     [] {
       concat({zeros({2, 3}), zeros({2, 4})}, 0);
     },
     "tensors to concat differ beyond the axis (concat of f32[2, 3], f32[2, 4]): got f32[2, 4], expected "
     "like f32[2, 3] but for axis 0"},
    {"a layer's input",
     [] {
       nn::Linear({.in_features = 3, .out_features = 2})(zeros({5, 4}));
     },
     "the input does not fit a Linear layer (HERE: Linear(in_features=3, out_features=2)): got x f32[5, 4], "
     "expected [..., 3]. Hint: in_features is the extent of the input's last axis"},
    {"a picture that was not flattened",
     [] {
       nn::Linear({.in_features = 16, .out_features = 2})(zeros({5, 4, 4}));
     },
     "the input does not fit a Linear layer (HERE: Linear(in_features=16, out_features=2)): got x f32[5, 4, "
     "4], expected [..., 16]. Hint: put a Flatten layer before it"},
    {"channels of a convolution",
     [] {
       nn::Conv2d({.in_channels = 3, .out_channels = 8, .kernel_size = 3})(zeros({2, 1, 8, 8}));
     },
     "the input does not fit a Conv2d layer (HERE: Conv2d(in_channels=3, out_channels=8, kernel_size=3)): "
     "got x f32[2, 1, 8, 8], expected [N, 3, H, W]. Hint: in_channels is the extent of axis 1 of the input"},
    {"a kernel larger than the picture",
     [] {
       nn::Conv2d({.in_channels = 1, .out_channels = 8, .kernel_size = 5})(zeros({2, 1, 3, 3}));
     },
     "the kernel of a convolution is larger than its padded input (HERE: conv2d of x f32[2, 1, 3, 3], weight "
     "f32[8, 1, 5, 5], bias f32[8]): got kernel [8, 1, 5, 5] over input [2, 1, 3, 3]. Hint: larger input, "
     "smaller kernel or dilation, or more padding"},
    {"two dtypes", [] { zeros({2}) + zeros({2}, DType::f64); },
     "operands have different dtypes (add of x f32[2], y f64[2]): got f32 and f64. Hint: cast() one"},
    {"integers where numbers are needed",
     [] {
       softmax(zeros({2, 3}, DType::i32));
     },
     "softmax takes a floating-point tensor of at least one axis (softmax of x i32[2, 3]): got i32[2, 3]"},
    {"a weight of another dtype",
     [] {
       nn::Linear({.in_features = 3, .out_features = 2})(zeros({5, 3}, DType::f64));
     },
     "matmul needs operands of one floating-point dtype (HERE: matmul of a f64[5, 3], b f32[2, 3], bias "
     "f32[2]): got f64[5, 3] and f32[2, 3]"},
    {"elements read as another dtype", [] { zeros({2}).data<int32_t>(); },
     "tensor data read as another dtype: got i32, expected f32"},
    {"an axis to reduce",
     [] {
       mean(zeros({2, 3}), {-3});
     },
     "axis out of range: got -3, expected -2 to 1"},
    {"an axis to join along",
     [] {
       concat({zeros({2}), zeros({2})}, 1);
     },
     "axis out of range: got 1, expected -1 to 0"},
    {"axes in an order",
     [] {
       permute(zeros({2, 3}), {0, 0});
     },
     "permute needs every axis once (permute of x f32[2, 3]): got {axes=[0, 0]}"},
    {"no gradient was taken",
     [] {
       optim::Adam adam;
       nn::Sequential model = plain();
       adam.attach(model.parameters());
       std::vector<Tensor> grads;
       for (const Tensor& p : model.parameters()) grads.push_back(p.grad());
       adam.step(grads);
     },
     "a gradient does not fit its parameter (layers.0.weight): got none, expected f32[2, 4]. Hint: a loss "
     "that does not depend on it leaves none: leave it out, or take grad()"},
    {"nothing to differentiate", [] { sum(zeros({3})).backward(); },
     "backward() reaches no tensor that requires a gradient: got f32[]. Hint: call set_requires_grad() "
     "before computing; NoGrad and detach() cut the way"},
    {"several numbers to differentiate",
     [] {
       (leaf({1, 2}) * 2.0).backward();
     },
     "a gradient is taken of one floating-point number: got f32[2]. Hint: reduce it first: sum() or mean(), "
     "or say the gradient of every element"},
    {"a value that the gradient needs was overwritten",
     [] {
       Tensor x = leaf({1, 2}), y = exp(x), loss = sum(y);
       y.assign(x);
       loss.backward();
     },
     "a value needed for the gradient was overwritten in place (result 0 of exp). Hint: assign() after "
     "backward(), or clone() first"},
    {"a label out of range",
     [] {
       nn::CrossEntropyLoss()(zeros({2, 3}), tensor(std::vector<int64_t>{0, 3}, {2}));
     },
     "class label out of range (labels[1]): got 3, expected 0 to 2"},
    {"a label below 0",
     [] {
       nn::NLLLoss()(zeros({2, 3}), tensor(std::vector<int32_t>{-1, 2}, {2}));
     },
     "class label out of range (labels[0]): got -1, expected 0 to 2"},
    {"labels of no integers",
     [] {
       nn::CrossEntropyLoss()(zeros({2, 3}), zeros({2}));
     },
     "cross-entropy needs integer class labels (cross_entropy of logits f32[2, 3], labels f32[2]): got "
     "f32[2], expected u8, i32 or i64 [N]. Hint: cast() them, or use nn::MSELoss for real-valued targets"},
    {"targets of another shape",
     [] {
       nn::MSELoss()(zeros({2, 1}), zeros({2}));
     },
     "the loss mse needs output and target of one shape and dtype: got f32[2, 1] and f32[2]. Hint: reshape() "
     "or cast() the target to the output's type"},
    {"a parameter twice",
     [] {
       optim::SGD sgd({.lr = 0.1});
       nn::Sequential model = plain();
       std::vector<Tensor> twice = model.parameters();
       twice.push_back(twice[0]);
       sgd.attach(twice);
     },
     "a parameter was given to the optimizer twice: got 'layers.0.weight'"},
    {"no parameters", [] { optim::SGD({.lr = 0.1}).attach(nn::Sequential(nn::ReLU()).parameters()); },
     "an optimizer needs at least one parameter (sgd). Hint: pass model.parameters(); the model may have "
     "none"},
    {"a tensor that is no parameter", [] { optim::SGD({.lr = 0.1}).attach({zeros({2})}); },
     "an optimizer trains parameters of a module: got a tensor f32[2] without that role. Hint: "
     "set_role(TensorRole::kParameter, name) makes it one"},
    {"softmax before cross-entropy",
     [] {
       nn::Sequential model = ending_in(nn::Softmax());
       step_of(model, nn::CrossEntropyLoss());
     },
     "the model ends in Softmax, and cross-entropy applies softmax itself (HERE): expected a last layer that "
     "gives logits. Hint: remove the Softmax; predictions are turned into probabilities for you"},
    {"sigmoid before bce-with-logits",
     [] {
       nn::Sequential model = ending_in(nn::Sigmoid());
       step_of(model, nn::BCEWithLogitsLoss());
     },
     "the model ends in Sigmoid, and bce-with-logits applies sigmoid itself (HERE): expected a last layer "
     "that gives logits. Hint: remove the Sigmoid, or use bce"},
    {"scores under bce",
     [] {
       nn::Sequential model = plain();
       step_of(model, nn::BCELoss());
     },
     "the model ends in Linear, and bce takes probabilities (HERE): expected a last layer that gives numbers "
     "from 0 to 1. Hint: use bce-with-logits, or add a Sigmoid"},
    {"scores under nll",
     [] {
       nn::Sequential model = plain();
       step_of(model, nn::NLLLoss());
     },
     "the model ends in Linear, and nll takes log-probabilities (HERE): expected a last layer LogSoftmax. "
     "Hint: add a LogSoftmax, or use cross-entropy, which needs none"},
    {"probabilities under nll",
     [] {
       nn::Sequential model = ending_in(nn::Softmax());
       step_of(model, nn::NLLLoss());
     },
     "the model ends in Softmax, and nll takes log-probabilities (HERE): expected a last layer LogSoftmax. "
     "Hint: put LogSoftmax in its place"},
    {"scores under kl-div",
     [] {
       nn::Sequential model = plain();
       step_of(model, nn::KLDivLoss());
     },
     "the model ends in Linear, and kl-div takes log-probabilities (HERE): expected a last layer LogSoftmax. "
     "Hint: add a LogSoftmax, or use cross-entropy, which needs none"},
    {"no reduction under training",
     [] {
       nn::Sequential model = plain();
       step_of(model, nn::CrossEntropyLoss({.reduction = "none"}));
     },
     "training needs a loss that is one number: got cross-entropy(reduction=\"none\"), expected the "
     "reduction mean or sum"},
};

TEST(Misuse, IsAnsweredWordForWord) {
  for (const Misuse& misuse : kMisuses) EXPECT_EQ(message_of(misuse.action), misuse.message) << misuse.name;
}

TEST(Misuse, WhatFitsIsNotRefused) {
  nn::Sequential logs = ending_in(nn::LogSoftmax()), scores = plain();
  EXPECT_NO_THROW(step_of(logs, nn::NLLLoss()));
  EXPECT_NO_THROW(step_of(logs, nn::KLDivLoss()));
  EXPECT_NO_THROW(step_of(scores, nn::CrossEntropyLoss()));
}

}  // namespace
}  // namespace wholestep
