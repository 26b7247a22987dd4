"""Writes layers.json: what PyTorch gives, in float64, for the layers of tests/nn/pytorch_layers_test.cpp.

usage: python3 layers.py > layers.json
Input k of a case is formula_values(k) of formula.py, parameter i (in PyTorch's order) 0.5 * formula_values(20 + i), buffer j before the call
1 + 0.25 * formula_values(60 + j), of integers 0.
"""
import json
import sys
from math import prod

import torch
from torch import nn

from formula import formula_labels, formula_values

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)


def operand(shape, k):
    return torch.tensor(formula_values(k, prod(shape))).reshape(shape)


def numbers(t):
    return [float(f"{v:.11g}") for v in t.detach().reshape(-1).tolist()]


def set_parameters(module):
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.copy_(0.5 * operand(list(p.shape), 20 + i))
        for j, b in enumerate(module.buffers()):
            if b.is_floating_point():
                b.copy_(1 + 0.25 * operand(list(b.shape), 60 + j))


def record(case, module, inputs, outputs):
    """The results of a case, the gradients of sum over results of sum(result * formula(9 + its number)), and the parameters."""
    loss = sum((y * operand(list(y.shape), 9 + i)).sum() for i, y in enumerate(outputs))
    loss.backward()
    return {**case,
            "outputs": [{"shape": list(y.shape), "values": numbers(y)} for y in outputs],
            "input_gradients": [numbers(x.grad) for x in inputs if x.is_floating_point()],
            "parameters": [{"name": name, "shape": list(p.shape), "gradient": numbers(p.grad)}
                           for name, p in module.named_parameters()]}


def one_operand(spec, module, x, indices=0, call=None, evaluation=False):
    """A layer of one input, made from `spec` as model.json has it; x holds indices below `indices` where that is not 0."""
    set_parameters(module)
    module.train(not evaluation)
    data = torch.tensor(formula_labels(1, prod(x), indices)).reshape(x) if indices else operand(x, 1).requires_grad_()
    y = (call or module)(data)
    more = {"evaluation": True} if evaluation else {}
    buffers = [{"name": name, "values": numbers(b)} for name, b in module.named_buffers()]  # after the call
    if buffers:
        more["buffers"] = buffers
    return record({"spec": spec, "x": x, "indices": indices, **more}, module, [data], [y])


def layer(name, x, module=None, indices=0, call=None, evaluation=False, **fields):
    module = module or getattr(nn, name)(**fields)
    return one_operand({"type": name, **fields}, module, x, indices, call, evaluation)


def causal(module, batch_first):
    def call(x):
        steps = x.shape[1 if batch_first else 0]
        mask = torch.ones(steps, steps, dtype=torch.bool).triu(1)
        if isinstance(module, nn.MultiheadAttention):
            return module(x, x, x, attn_mask=mask, need_weights=False)[0]
        return module(x, src_mask=mask)
    return call


def attention(x, is_causal=False, **fields):
    module = nn.MultiheadAttention(**fields)
    call = causal(module, fields.get("batch_first", False)) if is_causal else lambda a: module(a, a, a)[0]
    extra = {"is_causal": True} if is_causal else {}
    return one_operand({"type": "MultiheadAttention", **fields, **extra}, module, x, call=call)


def encoder(x, is_causal=False, **fields):
    activation = {"gelu_tanh": lambda a: nn.functional.gelu(a, approximate="tanh")}
    given = {**fields, "activation": activation.get(fields.get("activation"), fields.get("activation", "relu"))}
    module = nn.TransformerEncoderLayer(**given)
    extra = {"is_causal": True} if is_causal else {}
    call = causal(module, fields.get("batch_first", False)) if is_causal else None
    return one_operand({"type": "TransformerEncoderLayer", **fields, **extra}, module, x, call=call)


class Sequential(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class Residual(nn.Module):
    def __init__(self, layers, shortcut=()):
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), nn.Sequential(*shortcut)

    def forward(self, x):
        return self.layers(x) + self.shortcut(x)


class Parallel(nn.Module):
    def __init__(self, layers, join):
        super().__init__()
        self.layers, self.join = nn.ModuleList(layers), join

    def forward(self, x):
        return self.join([layer(x) for layer in self.layers])


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2021, with the names of torchvision's parts."""

    def __init__(self, image_size, patch_size, in_channels, num_layers, num_heads, hidden_dim, mlp_dim, num_classes):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_dim))
        self.pos_embedding = nn.Parameter(torch.zeros(1, (image_size // patch_size) ** 2 + 1, hidden_dim))
        self.conv_proj = nn.Conv2d(in_channels, hidden_dim, patch_size, patch_size)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(hidden_dim, num_heads, mlp_dim, 0.0, "gelu", 1e-6, True, True)
                                    for _ in range(num_layers))
        self.ln, self.head = nn.LayerNorm(hidden_dim, 1e-6), nn.Linear(hidden_dim, num_classes)

    def forward(self, x):
        y = self.conv_proj(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.class_token.expand(len(x), -1, -1), y], 1) + self.pos_embedding
        for block in self.layers:
            y = block(y)
        return self.head(self.ln(y)[:, 0])


class GPT(nn.Module):
    """Radford et al. 2019; the tokens' vectors are the last layer's weight, too."""

    def __init__(self, vocab_size, block_size, n_layer, n_head, n_embd):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        gelu = lambda a: nn.functional.gelu(a, approximate="tanh")
        self.h = nn.ModuleList(nn.TransformerEncoderLayer(n_embd, n_head, 4 * n_embd, 0.0, gelu, 1e-5, True, True) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)

    def forward(self, x):
        y, steps = self.wte(x) + self.wpe.weight[: x.shape[1]], x.shape[1]
        for block in self.h:
            y = block(y, src_mask=torch.ones(steps, steps, dtype=torch.bool).triu(1))
        return self.ln_f(y) @ self.wte.weight.T


def containers():
    linear = lambda inputs, outputs: {"type": "Linear", "in_features": inputs, "out_features": outputs}
    return [
        layer("Sequential", [3, 5], Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
              layers=[linear(5, 4), {"type": "ReLU"}, linear(4, 2)]),
        layer("Residual", [3, 5], Residual([nn.Linear(5, 5), nn.Tanh()]), layers=[linear(5, 5), {"type": "Tanh"}]),
        layer("Residual", [3, 5], Residual([nn.Linear(5, 4)], [nn.Linear(5, 4)]), layers=[linear(5, 4)], shortcut=[linear(5, 4)]),
        layer("Parallel", [3, 5], Parallel([nn.Linear(5, 4), nn.Linear(5, 1)], lambda ys: torch.cat(ys, 1)),
              layers=[linear(5, 4), linear(5, 1)]),
        layer("Parallel", [3, 5], Parallel([nn.Linear(5, 4), nn.Linear(5, 4)], sum), layers=[linear(5, 4), linear(5, 4)], join="sum"),
        layer("Flatten", [3, 2, 5]), layer("Flatten", [3, 2, 5, 1], start_dim=2),
        layer("Reshape", [3, 10], nn.Unflatten(1, (5, 2)), shape=[5, 2]),
        layer("Identity", [131]),
        layer("Dropout", [131], evaluation=True), layer("Dropout", [131], p=0.0),
        one_operand({"type": "DropConnect", "in_features": 5, "out_features": 3}, nn.Linear(5, 3), [7, 5], evaluation=True),
        one_operand({"type": "DropConnect", "in_features": 5, "out_features": 3, "p": 0.0, "bias": False}, nn.Linear(5, 3, bias=False),
                    [7, 5]),
    ]


def normalised():
    cases = []
    for evaluation in (False, True):
        cases += [layer("BatchNorm1d", [7, 3], evaluation=evaluation, num_features=3),
                  layer("BatchNorm1d", [2, 3, 5], evaluation=evaluation, num_features=3, eps=0.1, momentum=0.3, affine=False),
                  layer("BatchNorm2d", [2, 3, 5, 4], evaluation=evaluation, num_features=3),
                  layer("BatchNorm2d", [2, 1, 1, 1], evaluation=evaluation, num_features=1, momentum=1.0, eps=0.01)]
    return cases


def activations():
    shape = [5, 7]
    return [*(layer(name, shape) for name in ("ReLU", "LeakyReLU", "Tanh", "Sigmoid", "SiLU", "ELU", "GELU", "Softplus")),
            layer("LeakyReLU", shape, negative_slope=0.3), layer("Softmax", [2, 3, 5], dim=1),
            layer("Softmax", shape, nn.Softmax(-1)), layer("Softmax", [3, 1], nn.Softmax(-1)),
            layer("ReLU", [131]), layer("Tanh", [0, 3]), layer("Sigmoid", []), layer("SiLU", [1])]


def pooled():
    return [layer("AdaptiveAvgPool2d", [2, 3, 7, 5], output_size=1), layer("AdaptiveAvgPool2d", [2, 3, 7, 5], output_size=[3, 2]),
            layer("AdaptiveAvgPool2d", [1, 2, 3, 4], output_size=5),
            layer("MaxPool2d", [2, 3, 7, 5], kernel_size=[3, 2], stride=[2, 1], padding=1),
            layer("MaxPool2d", [2, 1, 6, 6], kernel_size=2), layer("AvgPool2d", [2, 3, 7, 5], kernel_size=[3, 2], stride=[2, 1], padding=1),
            layer("Conv2d", [2, 3, 7, 5], in_channels=3, out_channels=4, kernel_size=[3, 2], stride=[2, 1], padding=1),
            layer("Conv2d", [2, 4, 5, 5], in_channels=4, out_channels=6, kernel_size=3, groups=2, bias=False),
            layer("Linear", [3, 5], in_features=5, out_features=4), layer("Linear", [2, 3, 5], in_features=5, out_features=4, bias=False)]


def networks():
    vit = dict(image_size=6, patch_size=3, in_channels=2, num_layers=2, num_heads=2, hidden_dim=4, mlp_dim=6, num_classes=3)
    gpt = dict(vocab_size=7, block_size=6, n_layer=2, n_head=2, n_embd=4)
    return [layer("VisionTransformer", [2, 2, 6, 6], VisionTransformer(**vit), **vit),
            one_operand({"type": "GPT", **gpt, "dropout": 0.0}, GPT(**gpt), [2, 5], indices=7)]


def recurrent(name, x, **fields):
    module = getattr(nn, name)(**fields)
    return one_operand({"type": name, **fields}, module, x, call=lambda a: module(a)[0])


def several_operands():
    cases = []

    def add(kind, module, shapes, call, **case):
        set_parameters(module)
        inputs = [operand(s, 1 + i).requires_grad_() for i, s in enumerate(shapes)]
        cases.append(record({"kind": kind, "inputs": shapes, **case}, module, inputs, call(module, *inputs)))

    add("Bilinear", nn.Bilinear(3, 4, 5), [[2, 7, 3], [2, 7, 4]], lambda m, a, b: [m(a, b)])
    floating = operand([3, 5], 7)
    padding = torch.tensor([[False, False, True, False, True], [False] * 5])
    masked = torch.tensor(formula_labels(8, 15, 2)).reshape(3, 5).bool()
    masked[:, 0] = False
    add("MultiheadAttention", nn.MultiheadAttention(6, 2), [[3, 2, 6], [5, 2, 6], [5, 2, 6]],
        lambda m, q, k, v: [m(q, k, v, attn_mask=floating, key_padding_mask=torch.zeros(2, 5).masked_fill(padding, -1e30))[0]],
        masks="float and padding")
    add("MultiheadAttention", nn.MultiheadAttention(6, 3), [[3, 2, 6], [5, 2, 6], [5, 2, 6]],
        lambda m, q, k, v: [m(q, k, v, attn_mask=masked)[0]], masks="bool")
    add("TransformerDecoderLayer", nn.TransformerDecoderLayer(4, 2, 6, 0.0), [[3, 2, 4], [5, 2, 4]],
        lambda m, t, s: [m(t, s)], norm_first=False)
    causal_mask = torch.ones(3, 3, dtype=torch.bool).triu(1)
    add("TransformerDecoderLayer", nn.TransformerDecoderLayer(4, 2, 6, 0.0, "gelu", norm_first=True), [[3, 2, 4], [5, 2, 4]],
        lambda m, t, s: [m(t, s, tgt_mask=causal_mask)], norm_first=True)
    add("LSTM", nn.LSTM(3, 4, 2, bidirectional=True), [[5, 2, 3], [4, 2, 4], [4, 2, 4]],
        lambda m, x, h, c: (lambda r: [r[0], r[1][0], r[1][1]])(m(x, (h, c))))
    add("GRU", nn.GRU(3, 4, 2), [[5, 2, 3], [2, 2, 4]], lambda m, x, h: list(m(x, h)))
    add("RNN", nn.RNN(3, 4), [[5, 2, 3], [1, 2, 4]], lambda m, x, h: list(m(x, h)))
    return cases


def initial(name, **fields):
    """Standard deviation and largest magnitude of every parameter PyTorch draws, over 20 draws."""
    drawn = [getattr(nn, name)(**fields) for _ in range(20)]
    rows = []
    for parameters in zip(*[m.named_parameters() for m in drawn]):
        values = torch.cat([p.detach().reshape(-1) for _, p in parameters])
        rows.append({"name": parameters[0][0], "mean": float(f"{values.mean():.4g}"), "std": float(f"{values.std():.4g}"),
                     "largest": float(f"{values.abs().max():.4g}")})
    return {"spec": {"type": name, **fields}, "parameters": rows}


def counts():
    """Parameters of networks that are known by name."""
    class Words(nn.Module):
        def __init__(self, vocabulary, width, layers):
            super().__init__()
            self.encoder = nn.Embedding(vocabulary, width)
            self.rnn = nn.LSTM(width, width, layers)
            self.decoder = nn.Linear(width, vocabulary)
    return {"lstm-lm": sum(p.numel() for p in Words(10000, 650, 2).parameters())}


def main():
    one = [
        layer("LayerNorm", [3, 5, 7], normalized_shape=[7]),
        layer("LayerNorm", [2, 3, 4], normalized_shape=[3, 4], eps=0.1, bias=False),
        layer("LayerNorm", [2, 3, 1], normalized_shape=[1], elementwise_affine=False),
        layer("RMSNorm", [3, 5, 7], normalized_shape=[7], eps=1e-5),
        layer("RMSNorm", [2, 3, 4], normalized_shape=[3, 4], eps=0.1, elementwise_affine=False),
        layer("GroupNorm", [2, 6, 3, 5], num_groups=3, num_channels=6),
        layer("GroupNorm", [3, 4], num_groups=2, num_channels=4, eps=0.1, affine=False),
        layer("Embedding", [3, 5], indices=7, num_embeddings=7, embedding_dim=4),
        layer("Embedding", [11], indices=5, num_embeddings=5, embedding_dim=3, padding_idx=2),
        layer("Conv1d", [2, 4, 13], in_channels=4, out_channels=6, kernel_size=3, stride=2, padding=2, dilation=2, groups=2),
        layer("Conv1d", [3, 1, 7], in_channels=1, out_channels=5, kernel_size=7, bias=False),
        layer("ConvTranspose2d", [2, 3, 4, 5], in_channels=3, out_channels=2, kernel_size=3),
        layer("ConvTranspose2d", [2, 4, 3, 5], in_channels=4, out_channels=6, kernel_size=[3, 2], stride=[2, 3],
              padding=[1, 0], output_padding=[1, 2], groups=2, dilation=[2, 1]),
        layer("MaxPool1d", [2, 3, 11], kernel_size=3, stride=2, padding=1),
        layer("AvgPool1d", [2, 3, 11], kernel_size=4),
        layer("ELU", [11], alpha=1.5), layer("SELU", [11]), layer("GELU", [11], approximate="tanh"), layer("Mish", [11]),
        layer("Softplus", [11], beta=30.0, threshold=10.0), layer("Hardswish", [11]), layer("PReLU", [2, 3, 5], num_parameters=3),
        layer("PReLU", [7]), layer("LogSoftmax", [2, 5, 3], dim=1),
        attention([5, 2, 6], embed_dim=6, num_heads=2), attention([2, 5, 6], embed_dim=6, num_heads=3, batch_first=True, bias=False),
        attention([4, 3, 4], embed_dim=4, num_heads=1, is_causal=True),
        encoder([5, 2, 4], d_model=4, nhead=2, dim_feedforward=6, dropout=0.0),
        encoder([2, 5, 4], d_model=4, nhead=2, dim_feedforward=6, dropout=0.0, activation="gelu", batch_first=True,
                norm_first=True, is_causal=True),
        encoder([2, 3, 4], d_model=4, nhead=1, dim_feedforward=5, dropout=0.0, activation="gelu_tanh", batch_first=True, bias=False,
                layer_norm_eps=0.1),
        recurrent("RNN", [5, 2, 3], input_size=3, hidden_size=4), recurrent("LSTM", [5, 2, 3], input_size=3, hidden_size=4),
        recurrent("GRU", [5, 2, 3], input_size=3, hidden_size=4),
        recurrent("RNN", [2, 7, 1], input_size=1, hidden_size=3, num_layers=2, nonlinearity="relu", bias=False, batch_first=True,
                  bidirectional=True),
        recurrent("LSTM", [2, 7, 2], input_size=2, hidden_size=3, num_layers=2, batch_first=True, bidirectional=True),
        recurrent("GRU", [1, 3, 2], input_size=2, hidden_size=3, num_layers=3, bias=False, bidirectional=True),
        *containers(), *normalised(), *activations(), *pooled(), *networks(),
    ]
    drawn = [
        initial("Conv1d", in_channels=20, out_channels=50, kernel_size=5),
        initial("ConvTranspose2d", in_channels=20, out_channels=30, kernel_size=3),
        initial("Bilinear", in1_features=20, in2_features=30, out_features=10),
        initial("Embedding", num_embeddings=100, embedding_dim=20, padding_idx=3),
        initial("LayerNorm", normalized_shape=[50]), initial("RMSNorm", normalized_shape=[50]),
        initial("GroupNorm", num_groups=2, num_channels=50), initial("PReLU", num_parameters=50),
        initial("MultiheadAttention", embed_dim=40, num_heads=4),
        initial("TransformerEncoderLayer", d_model=40, nhead=4, dim_feedforward=80),
        initial("RNN", input_size=20, hidden_size=40), initial("LSTM", input_size=20, hidden_size=40, num_layers=2),
        initial("GRU", input_size=20, hidden_size=40, bidirectional=True),
    ]
    write = lambda cases: ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    sys.stdout.write(f'{{"torch":"{torch.__version__}","counts":{json.dumps(counts())},"one_operand":[\n{write(one)}\n],'
                     f'"several_operands":[\n{write(several_operands())}\n],"initial":[\n{write(drawn)}\n]}}\n')


if __name__ == "__main__":
    main()
