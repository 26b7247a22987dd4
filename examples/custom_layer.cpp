// A layer of one's own: a gate that lets channels through by what is in them (squeeze and excitation, Hu et
// al. 2018). It trains, is saved and loaded like the library's layers, and its model is edited for another
// task afterwards.
#include <wholestep/wholestep.h>
#include <cstdio>

namespace ws = wholestep;
using ws::Tensor;

/// y = x * sigmoid(weight mean(x) + bias) for x [N, channels, H, W], the mean over each channel's plane.
/// Parameters weight [channels, channels] and bias [channels], and those of the layer `inner` that comes
/// before.
class Gate final : public ws::nn::Module {
 public:
  Gate(ws::nn::Conv2d inner, int64_t channels, std::source_location where = std::source_location::current())
      : Module(where),
        inner_(std::move(inner)),
        weight_(new_parameter({channels, channels})),
        bias_(new_parameter({channels})) {}

  Tensor forward(const Tensor& x) override {
    Tensor y = relu(inner_(x));
    if (y.dim(1) != bias_.dim(0)) refuse(x, "a Gate got other channels", std::to_string(bias_.dim(0)));
    Tensor gate = sigmoid(linear(mean(y, {2, 3}), weight_, bias_));
    return y * reshape(gate, {y.dim(0), y.dim(1), 1, 1});
  }
  std::string_view type() const override { return "Gate"; }

 protected:
  void members(ws::nn::MemberVisitor& member) override {
    member.child("inner", inner_);
    member.parameter("weight", weight_);
    member.parameter("bias", bias_);
  }
  void reset_parameters(const ws::nn::init::Draws& draws) override {
    ws::nn::init::orthogonal(weight_, draws("weight"));
    ws::nn::init::constant(bias_, 1);
  }

 private:
  ws::nn::Conv2d inner_;
  Tensor weight_, bias_;
};

ws::nn::Sequential make_model(int64_t classes) {
  return ws::nn::Sequential(
      Gate(ws::nn::Conv2d({.in_channels = 1, .out_channels = 8, .kernel_size = 5, .padding = 2}), 8),
      ws::nn::MaxPool2d({.kernel_size = 4}), ws::nn::Flatten(),
      ws::nn::Linear({.in_features = 392, .out_features = classes}));
}

double accuracy_of(ws::nn::Module& model, const ws::Dataset& data, const ws::Normalization& normalization) {
  return *ws::evaluate(model, ws::nn::CrossEntropyLoss(), data, normalization).accuracy;
}

int main(int, char** arguments) {
  const std::filesystem::path run_folder = arguments[1] ? arguments[1] : "runs/gate";
  ws::DataSplits data = ws::open_data("digits:train=4000,test=500");

  ws::Normalization normalization = ws::normalization_of(*data.train);  // as the trainer does

  ws::nn::Sequential model = make_model(10);
  ws::Trainer trainer({.max_epochs = 2, .run_folder = run_folder});
  ws::FitResult result = trainer.fit(model, ws::optim::Adam({.lr = 3e-3}), ws::nn::CrossEntropyLoss(), data);

  // Loading: a model made the same way takes the checkpoint's values by name.
  ws::nn::Sequential loaded = make_model(10);
  std::vector<Tensor> tensors = loaded.parameters();
  for (const auto& [name, buffer] : loaded.named_buffers()) tensors.push_back(buffer);
  ws::load_tensors(result.checkpoint / "model.safetensors", tensors);
  double trained = accuracy_of(model, *data.test, normalization),
         again = accuracy_of(loaded, *data.test, normalization);
  std::printf("accuracy %.1f %%, loaded %.1f %%\n", 100 * trained, 100 * again);

  // Another task: the layers that stay keep what they learned and are held; a new last layer learns alone.
  loaded.replace(3, ws::nn::Linear({.in_features = 392, .out_features = 10}));
  loaded[0].freeze();
  ws::Trainer({.max_epochs = 2}).fit(loaded, ws::optim::Adam({.lr = 3e-3}), ws::nn::CrossEntropyLoss(), data);
  double tuned = accuracy_of(loaded, *data.test, normalization);
  std::printf("with a new last layer %.1f %%\n", 100 * tuned);

  // The same by name, for a model that was written anew.
  ws::nn::Sequential other = make_model(5);
  ws::nn::Fitting fitting = ws::nn::copy_fitting(model, other);
  std::printf("%zu tensors kept, %zu fresh\n", fitting.kept.size(), fitting.fresh.size());
  return trained > 0.8 && again == trained && tuned > 0.8 && fitting.fresh.size() == 2 ? 0 : 1;
}
