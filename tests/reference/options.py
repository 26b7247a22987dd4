"""Writes options.json: PyTorch's results in float64 for options of its layers, as layers.json has them for their defaults.

usage: python3 options.py > options.json
"""
import json
import sys

import torch
from torch import nn

from formula import formula_labels
from layers import attention, initial, layer, one_operand, operand, record, recurrent, set_parameters

torch.manual_seed(0)


def conv(name, x, channels, **fields):
    return layer(name, x, in_channels=channels[0], out_channels=channels[1], **fields)


def embedding(x, **fields):
    """Also the weight that the look-up leaves: rows that were looked up are shortened."""
    module = nn.Embedding(**fields)
    case = one_operand({"type": "Embedding", **fields}, module, x, indices=fields["num_embeddings"] - 2)
    case["weight_after"] = module.weight.detach().reshape(-1).tolist()
    return case


def unbatched(name, x, **fields):
    return recurrent(name, x, **fields)


def several():
    cases = []

    def add(kind, fields, shapes, call, **case):
        module = getattr(nn, kind)(**fields)
        set_parameters(module)
        inputs = [operand(s, 1 + i).requires_grad_() for i, s in enumerate(shapes)]
        cases.append(record({"kind": kind, "spec": {"type": kind, **fields}, "inputs": shapes, **case}, module, inputs,
                            call(module, *inputs)))

    masked = torch.tensor(formula_labels(8, 15, 2)).reshape(3, 5).bool()
    masked[:, 0] = False
    padding = torch.tensor([[False, False, True, False, True], [False] * 5])
    qkv = [[3, 2, 6], [5, 2, 6], [5, 2, 6]]
    base = dict(embed_dim=6, num_heads=2)
    call = lambda **options: lambda m, q, k, v: list(m(q, k, v, **options))
    add("MultiheadAttention", base, qkv, call(), mask="none", average=True)
    add("MultiheadAttention", base, qkv, call(attn_mask=masked, average_attn_weights=False), mask="attn", average=False)
    add("MultiheadAttention", {**base, "kdim": 4, "vdim": 3}, [[3, 2, 6], [5, 2, 4], [5, 2, 3]], call(), mask="none", average=True)
    add("MultiheadAttention", {**base, "kdim": 4, "bias": False, "batch_first": True}, [[2, 3, 6], [2, 5, 4], [2, 5, 6]], call(),
        mask="none", average=True)
    add("MultiheadAttention", {**base, "add_bias_kv": True}, qkv, call(attn_mask=masked), mask="attn", average=True)
    add("MultiheadAttention", {**base, "add_zero_attn": True}, qkv, call(key_padding_mask=padding), mask="padding", average=True)
    add("MultiheadAttention", {**base, "add_bias_kv": True, "add_zero_attn": True, "vdim": 5}, [[3, 2, 6], [5, 2, 6], [5, 2, 5]],
        call(attn_mask=masked, key_padding_mask=padding), mask="attn and padding", average=True)
    square = torch.ones(3, 3, dtype=torch.bool).triu(1)
    add("MultiheadAttention", {**base, "add_bias_kv": True}, [[3, 2, 6]] * 3, call(attn_mask=square), mask="causal", average=True)

    states = lambda m, x, h, c: (lambda r: [r[0], r[1][0], r[1][1]])(m(x, (h, c)))
    add("LSTM", dict(input_size=3, hidden_size=4, num_layers=2, bidirectional=True, proj_size=2), [[5, 2, 3], [4, 2, 2], [4, 2, 4]],
        states)
    add("LSTM", dict(input_size=3, hidden_size=4, proj_size=1, bias=False), [[5, 3], [1, 1], [1, 4]], states)
    add("LSTM", dict(input_size=3, hidden_size=4, num_layers=2, batch_first=True), [[5, 3], [2, 4], [2, 4]], states)
    add("GRU", dict(input_size=3, hidden_size=4, bidirectional=True), [[5, 3], [2, 4]], lambda m, x, h: list(m(x, h)))
    add("RNN", dict(input_size=3, hidden_size=4), [[5, 3], [1, 4]], lambda m, x, h: list(m(x, h)))
    return cases


def slices():
    """x[start:stop:step] along an axis, and the gradient of sum(result * formula(9))."""
    cases = []
    for shape, axis, start, stop, step in [([9], 0, 0, 9, 2), ([4, 7], 1, 1, 7, 3), ([5, 3, 2], 0, 1, 5, 2), ([2, 8, 3], -2, 0, 5, 5),
                                           ([2, 3], 1, 0, 3, 7), ([4, 4], 0, 0, 4, 1), ([3, 5], 1, 2, 2, 2)]:
        x = operand(shape, 1).requires_grad_()
        index = [slice(None)] * len(shape)
        index[axis] = slice(start, stop, step)
        y = x[tuple(index)]
        (y * operand(list(y.shape), 9)).sum().backward()
        cases.append(dict(x=shape, axis=axis, start=start, stop=stop, step=step, shape=list(y.shape), values=y.flatten().tolist(),
                          gradient=x.grad.flatten().tolist()))
    return cases


def main():
    one = []
    for mode in ["reflect", "replicate", "circular"]:
        one += [conv("Conv1d", [2, 3, 7], (3, 4), kernel_size=3, padding=2, padding_mode=mode),
                conv("Conv1d", [2, 3, 7], (3, 4), kernel_size=4, padding="same", padding_mode=mode),
                conv("Conv2d", [2, 3, 6, 5], (3, 2), kernel_size=[3, 2], padding=[2, 1], stride=2, padding_mode=mode),
                conv("Conv2d", [2, 2, 6, 7], (2, 2), kernel_size=[4, 3], padding="same", dilation=[1, 2], groups=2,
                     padding_mode=mode)]
    one += [conv("Conv1d", [2, 3, 7], (3, 4), kernel_size=3, padding="same", dilation=2),
            conv("Conv1d", [2, 3, 7], (3, 4), kernel_size=4, padding="same"),
            conv("Conv2d", [2, 3, 5, 6], (3, 2), kernel_size=[2, 5], padding="same"),
            conv("Conv2d", [1, 2, 6, 6], (2, 2), kernel_size=2, padding="same", dilation=3, bias=False)]
    for x, fields in [([2, 3, 7, 8], dict(kernel_size=3, stride=2)), ([1, 2, 5, 6], dict(kernel_size=2, stride=2)),
                      ([1, 2, 7, 5], dict(kernel_size=[3, 2], stride=[3, 2], padding=1)),
                      ([2, 1, 6, 7], dict(kernel_size=4, stride=3, padding=2))]:
        one += [layer("MaxPool2d", x, ceil_mode=True, **fields), layer("AvgPool2d", x, ceil_mode=True, **fields)]
        if "padding" in fields:
            one += [layer("AvgPool2d", x, ceil_mode=True, count_include_pad=False, **fields),
                    layer("AvgPool2d", x, count_include_pad=False, **fields)]
    one += [layer("MaxPool1d", [2, 3, 8], kernel_size=3, stride=2, ceil_mode=True),
            layer("AvgPool1d", [2, 3, 8], kernel_size=3, stride=2, ceil_mode=True),
            layer("AvgPool1d", [2, 3, 8], kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
            layer("Linear", [5], in_features=5, out_features=3),
            layer("Linear", [4], in_features=4, out_features=1, bias=False),
            recurrent("LSTM", [5, 2, 3], input_size=3, hidden_size=4, proj_size=2),
            recurrent("LSTM", [2, 7, 2], input_size=2, hidden_size=3, num_layers=2, batch_first=True, bidirectional=True,
                      proj_size=2),
            unbatched("RNN", [5, 3], input_size=3, hidden_size=4, nonlinearity="relu"),
            unbatched("LSTM", [5, 3], input_size=3, hidden_size=4, num_layers=2, bidirectional=True),
            unbatched("GRU", [5, 3], input_size=3, hidden_size=4, batch_first=True),
            attention([5, 2, 6], embed_dim=6, num_heads=2, add_bias_kv=True),
            attention([2, 4, 6], embed_dim=6, num_heads=3, add_zero_attn=True, batch_first=True),
            embedding([3, 4], num_embeddings=9, embedding_dim=3, max_norm=0.4),
            embedding([5], num_embeddings=9, embedding_dim=3, max_norm=0.5, norm_type=1.0),
            embedding([2, 3], num_embeddings=9, embedding_dim=3, max_norm=0.4, norm_type=3.0, padding_idx=2)]
    drawn = [initial("MultiheadAttention", embed_dim=40, num_heads=4, kdim=30, vdim=20, add_bias_kv=True),
             initial("LSTM", input_size=20, hidden_size=40, proj_size=10)]
    write = lambda cases: ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    sys.stdout.write(f'{{"torch":"{torch.__version__}","one_operand":[\n{write(one)}\n],"several_operands":[\n{write(several())}\n],'
                     f'"initial":[\n{write(drawn)}\n],"slices":[\n{write(slices())}\n]}}\n')


if __name__ == "__main__":
    main()
