// What the layers say of every misuse, word for word.
#include <gtest/gtest.h>

#include "wholestep/nn/activations.h"
#include "wholestep/nn/attention.h"
#include "wholestep/nn/bilinear.h"
#include "wholestep/nn/conv1d.h"
#include "wholestep/nn/conv_transpose2d.h"
#include "wholestep/nn/embedding.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/gpt.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/norm.h"
#include "wholestep/nn/pool1d.h"
#include "wholestep/nn/recurrent.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/nn/vision_transformer.h"

namespace wholestep {
namespace {

/// The message of what `action` throws, without file and line.
template <class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    std::string message = error.what();
    for (size_t at; (at = message.find("layer_messages_test.cpp:")) != std::string::npos;) {
      size_t end = message.find(": ", at);
      message.erase(at, end + 2 - at);
    }
    return message;
  }
  return "no error";
}

Tensor of(const Shape& shape, DType dtype = DType::f32) { return zeros({dtype, shape}); }

TEST(LayerMessages, SayWhichInputALayerTakes) {
  auto expect = [](nn::Module&& layer, const Tensor& x, const std::string& message) {
    EXPECT_EQ(message_of([&] { layer(x); }), message);
  };
  expect(nn::LayerNorm({.normalized_shape = {4}}), of({2, 3}),
         "x does not end in the shape to be normalised: got f32[2, 3], expected the last axes to be [4]");
  expect(nn::RMSNorm({.normalized_shape = {3, 4}}), of({4}),
         "x does not end in the shape to be normalised: got f32[4], expected the last axes to be [3, 4]");
  expect(nn::GroupNorm({.num_groups = 2, .num_channels = 4}), of({2, 3, 5}),
         "the input does not fit a GroupNorm layer (GroupNorm(num_groups=2, num_channels=4)): got x f32[2, "
         "3, 5], expected [N, 4, ...]. Hint: num_channels is the extent of axis 1 of the input");
  expect(nn::Embedding({.num_embeddings = 3, .embedding_dim = 2}), of({2, 3}),
         "an embedding takes indices (Embedding(num_embeddings=3, embedding_dim=2)): got x f32[2, 3], "
         "expected i32 or i64 [...]. Hint: cast() whole numbers to i64");
  expect(nn::Embedding({.num_embeddings = 3, .embedding_dim = 2}), tensor<int64_t>({0, 3}, {1, 2}),
         "row index out of range (index[1]): got 3, expected 0 to 2");
  expect(nn::Conv1d({.in_channels = 2, .out_channels = 3, .kernel_size = 3}), of({2, 3, 5}),
         "the input does not fit a Conv1d layer (Conv1d(in_channels=2, out_channels=3, kernel_size=3)): got "
         "x f32[2, 3, 5], expected [N, 2, L]. Hint: in_channels is the extent of axis 1 of the input");
  expect(nn::ConvTranspose2d({.in_channels = 2, .out_channels = 3, .kernel_size = 3}), of({2, 2, 5}),
         "the input does not fit a ConvTranspose2d layer (ConvTranspose2d(in_channels=2, out_channels=3, "
         "kernel_size=3)): got x f32[2, 2, 5], expected [N, 2, H, W]. Hint: in_channels is the extent of "
         "axis 1 of the input");
  expect(nn::MaxPool1d({.kernel_size = 2}), of({2, 3}),
         "the input does not fit a MaxPool1d layer (MaxPool1d(kernel_size=2)): got x f32[2, 3], expected [N, "
         "C, L]");
  expect(nn::Bilinear({.in1_features = 2, .in2_features = 3, .out_features = 4}), of({5, 2}),
         "the inputs do not fit a Bilinear layer (Bilinear(in1_features=2, in2_features=3, out_features=4)): "
         "got x f32[5, 2], expected x1 [..., 2] and x2 [..., 3], not f32[5, 2]");
  expect(nn::DropConnect({.in_features = 2, .out_features = 3}), of({5, 3}),
         "the input does not fit a DropConnect layer (DropConnect(in_features=2, out_features=3)): got x "
         "f32[5, 3], expected [..., 2]. Hint: in_features is the extent of the input's last axis");
  expect(nn::PReLU({.num_parameters = 3}), of({5, 2}),
         "prelu needs one slope, or one for every channel of x: got f32[5, 2] and f32[3], expected weight "
         "[1], or [C] for x [N, C, ...]");
  expect(nn::MultiheadAttention({.embed_dim = 4, .num_heads = 2}), of({5, 4}),
         "the input does not fit a MultiheadAttention layer (MultiheadAttention(embed_dim=4, num_heads=2)): "
         "got x f32[5, 4], expected [T, N, 4]. Hint: embed_dim is the extent of its last axis");
  expect(nn::TransformerEncoderLayer({.d_model = 4, .nhead = 2, .batch_first = true}), of({5, 1, 3}),
         "the input does not fit a MultiheadAttention layer (self_attn: MultiheadAttention(embed_dim=4, "
         "num_heads=2, dropout=0.1, batch_first=true)): got x f32[5, 1, 3], expected [N, T, 4]. Hint: "
         "embed_dim is the extent of its last axis");
  expect(nn::TransformerDecoderLayer({.d_model = 4, .nhead = 2}), of({5, 1, 4}),
         "a decoder layer looks at a memory too (TransformerDecoderLayer): got x f32[5, 1, 4], expected "
         "layer(tgt, memory)");
  expect(nn::LSTM({.input_size = 3, .hidden_size = 2}), of({5, 1, 2}),
         "the input does not fit the layer (LSTM(input_size=3, hidden_size=2)): got x f32[5, 1, 2], expected "
         "[T, N, 3] with at least one step. Hint: input_size is the extent of the input's last axis");
  expect(nn::GRU({.input_size = 3, .hidden_size = 2, .batch_first = true}), of({1, 0, 3}),
         "the input does not fit the layer (GRU(input_size=3, hidden_size=2, batch_first=true)): got x "
         "f32[1, 0, 3], expected [N, T, 3] with at least one step. Hint: input_size is the extent of the "
         "input's last axis");
  expect(nn::GPT({.vocab_size = 3, .block_size = 4, .n_layer = 1, .n_head = 1, .n_embd = 2}),
         of({1, 5}, DType::i64),
         "the input does not fit a GPT (GPT(vocab_size=3, block_size=4, n_layer=1, n_head=1, n_embd=2)): got "
         "x i64[1, 5], expected [N, T] with T at most 4");
  expect(nn::VisionTransformer(
             {.image_size = 8, .patch_size = 4, .num_layers = 1, .num_heads = 1, .hidden_dim = 2}),
         of({1, 3, 4, 4}),
         "the input does not fit a VisionTransformer (VisionTransformer(image_size=8, patch_size=4, "
         "num_layers=1, num_heads=1, hidden_dim=2)): got x f32[1, 3, 4, 4], expected [N, 3, 8, 8]");
  expect(nn::Reshape({.shape = {2, 2}}), of({5, 3}),
         "reshape changes the number of elements (reshape of x f32[5, 3]): got [5, 3] to [5, 2, 2]");
  expect(nn::Parallel(nn::Sequential(nn::Identity(), nn::Linear({.in_features = 3, .out_features = 2})),
                      {.join = "sum"}),
         of({5, 3}),
         "the layers of a Parallel differ in shape: one gives [5, 2] (Parallel): got x f32[5, 3], expected "
         "[5, 3]");
  expect(nn::Parallel(nn::Sequential()), of({5, 3}),
         "a Parallel has no layers (Parallel): got x f32[5, 3], expected at least one");
  nn::LSTM lstm({.input_size = 3, .hidden_size = 2});
  EXPECT_EQ(message_of([&] {
              lstm(of({5, 1, 3}), {of({1, 1, 3}), {}});
            }),
            "a state has another shape than the layer's, got [1, 1, 3] (LSTM(input_size=3, hidden_size=2)): "
            "got x f32[5, 1, 3], expected [1, 1, 2]");
}

TEST(LayerMessages, SayWhatIsWrongWithAConfig) {
  EXPECT_EQ(message_of([] { nn::MultiheadAttention({.embed_dim = 5, .num_heads = 2}); }),
            "MultiheadAttention: 'embed_dim' got 5, expected a multiple of 'num_heads' (2)");
  EXPECT_EQ(message_of([] { nn::GroupNorm({.num_groups = 2, .num_channels = 5}); }),
            "GroupNorm: 'num_channels' got 5, expected a multiple of 'num_groups' (2)");
  EXPECT_EQ(message_of([] { nn::Embedding({.num_embeddings = 5, .embedding_dim = 2, .padding_idx = 5}); }),
            "Embedding: 'padding_idx' got 5, expected less than 'num_embeddings' (5)");
  EXPECT_EQ(message_of([] { nn::LayerNorm({}); }),
            "LayerNorm: 'normalized_shape' got [0], expected at least 1");
  EXPECT_EQ(message_of([] { nn::GELU({.approximate = "tan"}); }),
            "GELU: 'approximate' got 'tan', did you mean 'tanh'?");
  EXPECT_EQ(
      message_of([] {
        nn::ConvTranspose2d({.in_channels = 2, .out_channels = 3, .kernel_size = 3, .output_padding = 1});
      }),
      "ConvTranspose2d: 'output_padding' got 1, expected less than 'stride' or 'dilation'");
  EXPECT_EQ(message_of([] { nn::TransformerEncoderLayer({.d_model = 5, .nhead = 2, .activation = "selu"}); }),
            "TransformerEncoderLayer: 'activation' got 'selu', did you mean 'relu'?");
  EXPECT_EQ(message_of([] { nn::MaxPool1d({.kernel_size = 3, .padding = 2}); }),
            "MaxPool1d: 'padding' got 2, expected at most half of 'kernel_size', 3");
}

}  // namespace
}  // namespace wholestep
