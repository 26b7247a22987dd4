"""Writes half.json: what PyTorch gives on the CPU, in float16 and bfloat16, for tests/nn/half_test.cpp.

usage: python3 half.py > half.json
Input k of a case is formula_values(k) of formula.py, parameter i (in PyTorch's order) 0.5 * formula_values(20 + i), both rounded to the dtype. The gradients
are those of the sum of result * formula_values(9), that of inputs first. Numbers are the bits of the dtype.
"""
import json
from math import prod

import torch
import torch.nn.functional as F
from torch import nn

from formula import formula_labels, formula_values
from losses import Focal

CASES = []


def operand(shape, k, dtype, scale=1):
    return (torch.tensor(formula_values(k, prod(shape)), dtype=torch.float64) * scale).reshape(shape).to(dtype)


def bits(t):
    return [b & 0xFFFF for b in t.detach().reshape(-1).view(torch.int16).tolist()]


def record(case, call, shapes, module=None, indices=0):
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        inputs = [torch.tensor(formula_labels(1, prod(shapes[0]), indices)).reshape(shapes[0])] if indices else \
            [operand(s, 1 + i, dtype).requires_grad_() for i, s in enumerate(shapes)]
        parameters = []
        if module:
            module.to(dtype)
            module.zero_grad(set_to_none=True)
            parameters = list(module.parameters())
            with torch.no_grad():
                for i, p in enumerate(parameters):
                    p.copy_(operand(list(p.shape), 20 + i, dtype, 0.5))
        y = call(*inputs)
        y.backward(operand(list(y.shape), 9, y.dtype))
        CASES.append({**case, "dtype": name, "inputs": shapes, "indices": indices, "shape": list(y.shape), "bits": bits(y),
                      "gradients": [bits(t.grad) for t in inputs + parameters if t.requires_grad]})


def layer(name, x, indices=0, call=None, spec=None, module=None, **fields):
    module = module or getattr(nn, name)(**fields)
    record({"layer": {"type": name, **(fields if spec is None else spec)}}, (lambda a: call(module, a)) if call else module, [x], module, indices)


def function(name, shapes, call, indices=0):
    record({"function": name}, call, shapes, indices=indices)


def layers():
    layer("Linear", [33, 17], in_features=17, out_features=21)
    layer("Linear", [2, 5, 7], in_features=7, out_features=3, bias=False)
    layer("Linear", [2, 1500], in_features=1500, out_features=1)  # a long sum
    layer("Conv1d", [2, 3, 19], in_channels=3, out_channels=5, kernel_size=3, stride=2, padding=1)
    layer("Conv1d", [2, 4, 11], in_channels=4, out_channels=6, kernel_size=5, groups=2, dilation=2)
    layer("Conv2d", [2, 3, 9, 11], in_channels=3, out_channels=8, kernel_size=3, padding=1)
    layer("Conv2d", [3, 4, 8, 7], in_channels=4, out_channels=6, kernel_size=[3, 2], stride=[2, 1], padding=[1, 0], groups=2)
    layer("Conv2d", [1, 5, 6, 6], in_channels=5, out_channels=5, kernel_size=3, groups=5, bias=False)
    layer("ConvTranspose2d", [2, 3, 4, 5], in_channels=3, out_channels=4, kernel_size=3, stride=2, padding=1, output_padding=1)
    layer("ConvTranspose2d", [2, 4, 3, 3], in_channels=4, out_channels=6, kernel_size=2, groups=2)
    layer("MaxPool2d", [2, 3, 7, 9], kernel_size=3, stride=2, padding=1)
    layer("AvgPool2d", [2, 3, 8, 6], kernel_size=2)
    layer("LayerNorm", [5, 3, 16], normalized_shape=[16])
    layer("LayerNorm", [4, 3, 5], normalized_shape=[3, 5])
    layer("RMSNorm", [5, 16], normalized_shape=[16], eps=1e-6)
    layer("GroupNorm", [3, 6, 5, 5], num_groups=3, num_channels=6)
    layer("BatchNorm1d", [17, 6], num_features=6)
    layer("BatchNorm2d", [4, 3, 6, 5], num_features=3)
    layer("Softmax", [7, 33], dim=-1)
    layer("Softmax", [3, 5, 4], dim=1)
    layer("LogSoftmax", [7, 33], dim=-1)
    layer("Embedding", [4, 9], indices=11, num_embeddings=11, embedding_dim=5)
    layer("LSTM", [5, 3, 4], input_size=4, hidden_size=6, call=lambda m, x: m(x)[0])
    layer("GRU", [5, 3, 4], input_size=4, hidden_size=6, num_layers=2, call=lambda m, x: m(x)[0])
    layer("RNN", [4, 3, 4], input_size=4, hidden_size=5, call=lambda m, x: m(x)[0])
    layer("MultiheadAttention", [7, 2, 12], embed_dim=12, num_heads=3, call=lambda m, x: m(x, x, x)[0])
    layer("TransformerEncoderLayer", [6, 2, 8], d_model=8, nhead=2, dim_feedforward=16, dropout=0.0)
    bilinear, decoder = nn.Bilinear(3, 4, 5), nn.TransformerDecoderLayer(8, 2, 16, 0.0)
    record({"layer": {"type": "Bilinear", "in1_features": 3, "in2_features": 4, "out_features": 5}}, bilinear,
           [[7, 3], [7, 4]], bilinear)
    record({"layer": {"type": "TransformerDecoderLayer", "d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0}}, decoder,
           [[3, 2, 8], [5, 2, 8]], decoder)
    layer("MaxPool1d", [2, 3, 11], kernel_size=3, stride=2, padding=1)
    layer("AvgPool1d", [2, 3, 11], kernel_size=4)
    layer("AdaptiveAvgPool2d", [2, 3, 7, 5], output_size=[3, 2])
    layer("PReLU", [4, 3, 7], num_parameters=3)
    layer("DropConnect", [9, 7], module=nn.Linear(7, 5), in_features=7, out_features=5, p=0.0)
    for name in ("ReLU", "Tanh", "Sigmoid", "SiLU", "GELU", "SELU", "ELU", "Mish", "Hardswish", "LeakyReLU", "Softplus"):
        layer(name, [5, 31])


def functions():
    function("matmul", [[7, 33], [33, 5]], torch.matmul)
    function("matmul batches", [[2, 1, 4, 9], [3, 9, 5]], torch.matmul)
    function("sum", [[900]], lambda x: x.sum())
    function("sum axes 0 2", [[5, 7, 11]], lambda x: x.sum((0, 2)))
    function("mean axis 1", [[5, 300]], lambda x: x.mean(1))
    function("mean of large ones", [[700]], lambda x: (x * 1000 + 2000).mean())  # whose sum f16 cannot hold
    function("var axes 0 2", [[5, 7, 11]], lambda x: x.var((0, 2)))
    function("std", [[5, 31]], lambda x: x.std())
    function("max axis 1", [[5, 31]], lambda x: x.amax(1))
    function("prod axis 1", [[4, 5]], lambda x: (x + 1.5).prod(1))
    function("cumsum axis 0", [[40, 3]], lambda x: x.cumsum(0))
    function("logsumexp axis 1", [[5, 31]], lambda x: x.logsumexp(1))
    function("norm", [[5, 31]], lambda x: x.norm())
    function("attention", [[2, 2, 7, 4], [2, 2, 9, 4], [2, 2, 9, 5]], F.scaled_dot_product_attention)
    function("causal attention", [[2, 2, 7, 4]] * 3, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    function("cross entropy", [[9, 13]], lambda x: F.cross_entropy(x * 8, torch.tensor(formula_labels(2, 9, 13))))
    function("smoothed cross entropy", [[9, 13]], lambda x: F.cross_entropy(x * 8, torch.tensor(formula_labels(2, 9, 13)), label_smoothing=0.1))
    function("mse", [[9, 13], [9, 13]], F.mse_loss)
    function("huber", [[9, 13], [9, 13]], lambda x, y: F.huber_loss(x * 3, y))
    function("binary cross entropy", [[9, 13], [9, 13]], lambda x, y: F.binary_cross_entropy_with_logits(x * 4, y * 0.5 + 0.5))
    p = lambda x: F.softmax(x, 1)
    labels, signs = torch.tensor(formula_labels(2, 9, 13)), torch.tensor(formula_labels(2, 9, 2)) * 2 - 1
    function("nll", [[9, 13]], lambda x: F.nll_loss(x, labels))
    function("soft cross entropy", [[9, 13], [9, 13]], lambda x, y: F.cross_entropy(x, p(y)))
    function("l1", [[9, 13], [9, 13]], F.l1_loss)
    function("smooth l1", [[9, 13], [9, 13]], lambda x, y: F.smooth_l1_loss(x * 3, y, beta=0.5))
    function("bce", [[9, 13], [9, 13]], lambda x, y: F.binary_cross_entropy(x * 0.5 + 0.5, y * 0.5 + 0.5))
    function("focal", [[9, 13]], lambda x: Focal()(x * 4, torch.tensor(formula_labels(2, 117, 2)).reshape(9, 13).to(x.dtype)))
    function("kl div", [[9, 13], [9, 13]], lambda x, y: F.kl_div(x, p(y), reduction="none").mean())  # as "mean", which warns
    function("hinge embedding", [[9, 13]], lambda x: F.hinge_embedding_loss(x, torch.tensor(formula_labels(2, 117, 2)).reshape(9, 13) * 2 - 1))
    function("cosine embedding", [[9, 13], [9, 13]], lambda x, y: F.cosine_embedding_loss(x, y, signs))
    function("triplet margin", [[9, 13]] * 3, F.triplet_margin_loss)
    function("sums of a broadcast product", [[300, 1], [7]], lambda x, y: x * y)
    function("quotient", [[9, 4], [9, 1]], lambda x, y: x / (y + 2))
    function("glu", [[5, 8]], F.glu)


def main():
    layers()
    functions()
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in CASES)
    print(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}')


if __name__ == "__main__":
    main()
