"""Writes functions.json: what PyTorch gives, in float64, for the calls of tests/ops/functions_test.cpp.

usage: python3 functions.py > functions.json
Floating-point operand number k of a call is formula_values(k) of formula.py, spread over [low, high]; integer
ones are formula_labels(k). Gradients are those of the sum over floating-point results of result * operand
number 9, 10, and so on.
"""
import json
import math
from math import prod

import torch
import torch.nn.functional as F

from formula import formula_labels, formula_values

torch.set_default_dtype(torch.float64)
CASES = []


def floats(k, shape, low=-1.0, high=1.0):
    values = [low + (high - low) * ((v + 1) / 2) for v in formula_values(k, prod(shape))]
    return torch.tensor(values).reshape(shape)


def number(v):
    return v if isinstance(v, (bool, int)) else float(f"{v:.12g}") if math.isfinite(v) else repr(v)


def numbers(t):
    return [number(v) for v in t.detach().reshape(-1).tolist()]


def case(name, shapes, function, low=-1.0, high=1.0, **labels):
    """shapes: of floating-point operands; labels: index=(shape, classes), integers after them."""
    operands = [floats(k + 1, shape, low, high).requires_grad_() for k, shape in enumerate(shapes)]
    described = [{"shape": shape} for shape in shapes]
    for k, (shape, classes) in enumerate(labels.values()):
        operands.append(torch.tensor(formula_labels(k + 5, prod(shape), classes), dtype=torch.int64).reshape(shape))
        described.append({"shape": shape, "classes": classes})
    results = function(*operands)
    results = [results] if torch.is_tensor(results) else list(results)
    total = sum((r * floats(9 + i, r.shape)).sum() for i, r in enumerate(results) if r.is_floating_point())
    gradients = []
    if torch.is_tensor(total) and total.requires_grad:
        wanted = operands[: len(shapes)]
        found = torch.autograd.grad(total, wanted, allow_unused=True)
        gradients = [numbers(torch.zeros_like(x) if g is None else g) for x, g in zip(wanted, found)]
    CASES.append({"name": name, "operands": described, "low": low, "high": high, "gradients": gradients,
                  "results": [{"shape": list(r.shape), "values": numbers(r)} for r in results]})


def reductions():
    shape = [3, 5, 7]
    case("min", [shape], lambda x: x.amin())
    case("min axes 1", [shape], lambda x: x.amin(1))
    case("min axes -1 0 keep", [shape], lambda x: x.amin((-1, 0), keepdim=True))
    case("min integers", [], lambda i: i.amin(0), i=([5, 3], 100))
    case("max integers", [], lambda i: i.amax(0), i=([5, 3], 100))
    case("argmin", [shape], lambda x: x.argmin())
    case("argmin axis -2 keep", [shape], lambda x: x.argmin(-2, keepdim=True))
    case("argmax", [shape], lambda x: x.argmax())
    case("argmax axis 0 keep", [shape], lambda x: x.argmax(0, keepdim=True))
    case("prod", [[2, 3]], lambda x: x.prod())
    case("prod axis 1", [shape], lambda x: x.prod(1))
    case("prod axis -1 keep", [shape], lambda x: x.prod(-1, keepdim=True))
    case("prod of none", [[3, 0]], lambda x: x.prod(1))
    case("prod of one", [[3, 1]], lambda x: x.prod(1))
    case("prod integers", [], lambda i: i.prod(), i=([7], 9))
    case("mean axes 0 2", [shape], lambda x: x.mean((0, 2)))
    case("mean", [[131]], lambda x: x.mean())
    case("mean of one keep", [[3, 1]], lambda x: x.mean(1, keepdim=True))
    case("sum", [[131]], lambda x: x.sum())
    case("sum axes -1 0 keep", [shape], lambda x: x.sum((-1, 0), keepdim=True))
    case("sum of none", [[0, 3]], lambda x: x.sum(0))
    case("sum of no axes", [[]], lambda x: x.sum())
    case("sum of a transposed one", [[5, 3, 7]], lambda x: x.permute(2, 0, 1).sum(1))
    case("max", [shape], lambda x: x.amax())
    case("max axes 0 -1 keep", [shape], lambda x: x.amax((0, -1), keepdim=True))
    case("max of one", [[7, 1]], lambda x: x.amax(1))
    case("max of a transposed one", [[11, 13]], lambda x: x.t().amax(0))
    case("sum_squares", [[131], [3, 5], []], lambda x, y, z: x.square().sum() + y.square().sum() + z.square())
    case("sum_to", [shape], lambda x: x.sum_to_size(5, 1))
    case("var", [shape], lambda x: x.var())
    case("var axes 1 -1", [shape], lambda x: x.var((1, -1)))
    case("var correction 0 keep", [shape], lambda x: x.var(1, correction=0, keepdim=True))
    case("std", [shape], lambda x: x.std())
    case("std axis 0 correction 2", [shape], lambda x: x.std(0, correction=2))
    case("std of equals", [[4]], lambda x: (x * 0).std())
    for p in (2.0, 1.0, 0.0, 3.0, 2.5, math.inf, -math.inf):
        case(f"norm {p} axis 1", [shape], lambda x: torch.linalg.vector_norm(x, p, 1))
    case("norm", [shape], lambda x: torch.linalg.vector_norm(x))
    case("norm of zeros", [[3]], lambda x: torch.linalg.vector_norm(x * 0))
    case("logsumexp axis 1", [shape], lambda x: x.logsumexp(1), -400, 400)
    case("logsumexp axes 0 -1 keep", [shape], lambda x: x.logsumexp((0, -1), keepdim=True))
    case("any axis 1", [], lambda i: (i == 0).any(1), i=([5, 3], 3))
    case("all", [], lambda i: (i == 0).all(), i=([5, 3], 3))
    case("all axis 0", [], lambda i: (i > 0).all(0), i=([2, 5], 2))
    case("any of none", [], lambda i: (i > 0).any(0), i=([0, 5], 2))
    case("cumsum axis 1", [shape], lambda x: x.cumsum(1))
    case("cumsum axis -1", [[37]], lambda x: x.cumsum(-1))
    case("cumsum of one", [[1]], lambda x: x.cumsum(0))
    case("cumsum integers", [], lambda i: i.cumsum(0), i=([11], 100))


def arranging():
    shape = [3, 5, 7]
    case("squeeze", [[1, 3, 1]], lambda x: x.squeeze())
    case("squeeze axis -1", [[1, 3, 1]], lambda x: x.squeeze(-1))
    case("unsqueeze 1", [shape], lambda x: x.unsqueeze(1))
    case("unsqueeze -1", [shape], lambda x: x.unsqueeze(-1))
    case("transpose 0 -1", [shape], lambda x: x.transpose(0, -1))
    case("stack", [[2, 3], [2, 3]], lambda x, y: torch.stack([x, y]))
    case("stack axis -1", [[2, 3], [2, 3]], lambda x, y: torch.stack([x, y], -1))
    case("split 3", [[7, 2]], lambda x: x.split(3))
    case("split sizes", [[2, 7]], lambda x: x.split([2, 0, 5], -1))
    case("chunk 4", [[2, 7]], lambda x: x.chunk(4, 1))
    case("select -1 of axis 1", [shape], lambda x: x.select(1, -1))
    case("flip", [shape], lambda x: x.flip([0, -1]))
    case("roll", [[2, 3]], lambda x: x.roll(4))
    case("roll axis 1 by -2", [shape], lambda x: x.roll(-2, 1))
    case("repeat", [[2, 3]], lambda x: x.repeat(2, 1, 3))
    case("repeat none", [[2, 3]], lambda x: x.repeat(0, 1))
    case("pad", [shape], lambda x: F.pad(x, [1, 2, 0, 3]))
    case("pad value", [[2, 3]], lambda x: F.pad(x, [1, 0, 2, 1], value=1.5))
    case("tril", [[2, 4, 3]], lambda x: x.tril())
    case("tril -1", [[4, 4]], lambda x: x.tril(-1))
    case("triu 1", [[3, 5]], lambda x: x.triu(1))
    case("diagonal", [[4, 3, 4]], lambda x: x.diagonal(0, 0, 2))
    case("cumsum of a transposed one", [[5, 3]], lambda x: x.t().cumsum(0).roll(1, -1))
    case("permute", [shape], lambda x: x.permute(2, 0, 1))
    case("permute -1", [[2, 1, 3, 5]], lambda x: x.permute(0, -1, 1, 2))
    case("permute none", [[0, 3]], lambda x: x.permute(1, 0))
    case("expand", [[5, 1]], lambda x: x.expand(3, 5, 7))
    case("expand to none", [[1, 3]], lambda x: x.expand(0, 3))
    case("expand of no axes", [[]], lambda x: x.expand(2, 3))
    case("reshape", [shape], lambda x: x.reshape(7, -1))
    case("reshape none", [[0, 3]], lambda x: x.reshape(3, 0, 2))
    case("reshape one", [[1, 1]], lambda x: x.reshape(()))
    case("reshape a transposed one", [[5, 3]], lambda x: x.t().reshape(5, 3))
    case("flatten", [shape], lambda x: x.flatten(1))
    case("flatten 0", [shape], lambda x: x.flatten())
    case("flatten -2", [shape], lambda x: x.flatten(-2))
    case("concat", [[2, 3], [1, 3], [0, 3], [5, 3]], lambda *x: torch.cat(x, 0))
    case("concat -1", [[2, 3, 1], [2, 3, 7]], lambda x, y: torch.cat([x, y], -1))
    case("concat one twice", [[3, 2]], lambda x: torch.cat([x, x.flip(0)], 1))
    case("slice", [shape], lambda x: x[:, 1:-1])
    case("slice by 2", [[2, 131]], lambda x: x[:, 3:130:2])


def indexing():
    case("index_select", [[5, 3]], lambda x, i: x.index_select(0, i), i=([4], 5))
    case("index_select axis -1", [[2, 3, 7]], lambda x, i: x.index_select(-1, i), i=([9], 7))
    case("gather axis 1", [[3, 5]], lambda x, i: x.gather(1, i), i=([3, 2], 5))
    case("gather axis 0", [[3, 5, 2]], lambda x, i: x.gather(0, i), i=([4, 2, 2], 3))
    case("gather of none", [[3, 5]], lambda x, i: x.gather(1, i), i=([3, 0], 5))
    case("scatter_add axis 0", [[3, 5], [4, 5]], lambda x, s, i: x.scatter_add(0, i, s), i=([4, 5], 3))
    case("scatter_add axis -1", [[2, 3, 4], [2, 3, 9]], lambda x, s, i: x.scatter_add(-1, i, s[:, :2, :7]), i=([2, 2, 7], 4))
    case("one_hot", [], lambda i: F.one_hot(i, 5), i=([2, 3], 5))
    case("sort", [[3, 7]], lambda x: x.sort())
    case("sort axis 0 descending", [[7, 3]], lambda x: x.sort(0, descending=True))
    case("sort integers", [], lambda i: i.sort(stable=True), i=([23], 4))
    case("sort one", [[]], lambda x: x.sort())
    case("argsort", [[2, 11]], lambda x: x.argsort(-1))
    case("topk 3", [[3, 7]], lambda x: x.topk(3))
    case("topk 2 smallest of axis 0", [[7, 3]], lambda x: x.topk(2, 0, largest=False))
    case("topk none", [[3]], lambda x: x.topk(0))
    case("gather_rows", [[5, 2, 3]], lambda x, i: x[i], i=([7], 5))
    case("gather_rows of none", [[5, 3]], lambda x, i: x[i], i=([0], 5))
    case("scatter_add_rows", [[7, 3]], lambda x, i: torch.zeros(5, 3).index_add(0, i, x), i=([7], 5))
    case("take", [], lambda i, j: i.roll(-j.item())[:7], i=([11], 100), j=([], 11))
    case("embedding", [[5, 3]], lambda x, i: F.embedding(i, x), i=([2, 7], 5))
    case("embedding but 2", [[5, 3]], lambda x, i: F.embedding(i, x, padding_idx=2), i=([23], 5))
    case("cross_entropy_losses", [[7, 5]], lambda x, i: F.cross_entropy(x * 8, i, reduction="none"), i=([7], 5))


def products():
    def product(equation, *shapes):
        case(f"einsum {equation}", [list(s) for s in shapes], lambda *x: torch.einsum(equation, *x))

    product("ij,jk->ik", (3, 5), (5, 2))
    product("bij,bjk->bik", (2, 3, 5), (2, 5, 4))
    product("bij,bkj->bki", (2, 3, 5), (2, 4, 5))
    product("i,j->ij", (3,), (5,))
    product("i,i->", (7,), (7,))
    product("ij->ji", (3, 5))
    product("ij->j", (3, 5))
    product("ii->i", (4, 4))
    product("ii", (4, 4))
    product("ij,jk", (3, 5), (5, 2))
    product("...ij,...jk->...ik", (2, 3, 4, 5), (3, 5, 2))
    product("...ij->...ji", (2, 3, 4))
    product("...i,i", (2, 3, 4), (4,))
    product("bhqd,bhkd->bhqk", (2, 3, 5, 4), (2, 3, 7, 4))
    product("ij,jk,kl->il", (2, 3), (3, 4), (4, 5))
    product("ijk,ilm,njm,nlk,abc->", (2, 3, 2), (2, 2, 3), (2, 3, 3), (2, 2, 2), (2, 1, 1))
    product("ij,ij->ij", (3, 5), (3, 5))
    product("iij,jk->ik", (3, 3, 2), (2, 4))
    product("ij,jk->ik", (3, 0), (0, 2))


    case("matmul", [[37, 7], [7, 3]], torch.matmul)
    case("matmul of vectors", [[131], [131]], torch.matmul)
    case("matmul of a vector and batches", [[5], [2, 5, 3]], torch.matmul)
    case("matmul of batches and a vector", [[2, 3, 5], [5]], torch.matmul)
    case("matmul of ones", [[1, 1], [1, 1]], torch.matmul)
    case("matmul over none", [[3, 0], [0, 2]], torch.matmul)
    case("matmul to none", [[0, 3], [3, 2]], torch.matmul)
    case("matmul broadcast", [[2, 1, 3, 5], [7, 5, 2]], torch.matmul)
    case("matmul transposed", [[2, 5, 3], [2, 7, 5]], lambda x, y: x.transpose(1, 2) @ y.transpose(1, 2))
    case("matmul of transposed ones", [[5, 3], [7, 5]], lambda x, y: x.t() @ y.t())
    case("linear", [[2, 3, 5], [7, 5], [7]], F.linear)
    case("linear without a bias", [[5], [1, 5]], F.linear)
    case("conv_transpose2d", [[2, 3, 4, 5], [3, 2, 3, 2], [2]],
         lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 1), (1, 0), (1, 0), dilation=(1, 2)))


def attention():
    sdpa = F.scaled_dot_product_attention
    q, k, v = [2, 2, 5, 3], [2, 2, 7, 3], [2, 2, 7, 2]
    case("scaled_dot_product_attention", [q, k, v], sdpa)
    case("scaled_dot_product_attention scale 0.3", [q, k, v], lambda *x: sdpa(*x, scale=0.3))
    case("scaled_dot_product_attention causal", [[2, 5, 3], [2, 5, 3], [2, 5, 2]], lambda *x: sdpa(*x, is_causal=True))
    case("scaled_dot_product_attention causal over more keys", [q, k, v], lambda *x: sdpa(*x, is_causal=True))
    case("scaled_dot_product_attention floating mask", [q, k, v, [2, 5, 7]], lambda q, k, v, m: sdpa(q, k, v, m * 2))
    case("scaled_dot_product_attention bool mask", [q, k, v], lambda q, k, v, i: sdpa(q, k, v, i > 0), i=([5, 7], 3))
    case("scaled_dot_product_attention bool mask a batch, scale 2", [q, k, v], lambda q, k, v, i: sdpa(q, k, v, i > 0, scale=2.0),
         i=([2, 1, 1, 7], 3))
    case("scaled_dot_product_attention broadcast", [[2, 1, 5, 3], [1, 3, 7, 3], [7, 2]],
         lambda q, k, v: sdpa(q.expand(2, 3, 5, 3), k.expand(2, 3, 7, 3), v.expand(2, 3, 7, 2)))
    case("scaled_dot_product_attention of one", [[1, 1], [1, 1], [1, 1]], sdpa)
    case("scaled_dot_product_attention of large scores", [q, k, v], lambda q, k, v: sdpa(q * 6, k * 6, v))
    case("attention_weights", [q, k], lambda q, k: torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(3), -1))
    case("causal_mask", [], lambda: torch.ones(3, 5).triu(1) > 0)


def norms():
    x = [3, 5, 7]
    case("layer_norm", [x, [7], [7]], lambda x, w, b: F.layer_norm(x, [7], w, b))
    case("layer_norm of two axes", [x], lambda x: F.layer_norm(x, [5, 7], eps=0.1))
    case("rms_norm", [x, [7]], lambda x, w: F.rms_norm(x, [7], w, 1e-5))
    case("rms_norm of two axes", [x], lambda x: F.rms_norm(x, [5, 7], eps=0.1))
    case("group_norm", [[2, 6, 5], [6], [6]], lambda x, w, b: F.group_norm(x, 3, w, b))
    case("group_norm of one", [[2, 4, 3]], lambda x: F.group_norm(x, 4, eps=0.1))
    case("batch_norm_with", [[3, 2, 5], [2], [2]], lambda x, w, b, m, v: F.batch_norm(x, m / 10, v / 10 + 0.5, w, b), m=([2], 9), v=([2], 9))
    case("max_pool2d_with_argmax", [[2, 3, 7, 9]], lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1), return_indices=True))


def pointwise():
    functions = {
        "clamp -0.5 0.25": lambda x: x.clamp(-0.5, 0.25), "clamp min": lambda x: x.clamp(min=0.1),
        "clamp max": lambda x: x.clamp(max=0.1), "ceil": torch.ceil, "elu": F.elu, "elu 0.5": lambda x: F.elu(x, 0.5),
        "celu 2": lambda x: F.celu(x, 2.0), "selu": F.selu, "leaky_relu 0.2": lambda x: F.leaky_relu(x, 0.2), "softplus": F.softplus,
        "softplus 2 3": lambda x: F.softplus(x, 2.0, 3.0), "logsigmoid": F.logsigmoid, "mish": F.mish,
        "softsign": F.softsign, "hardtanh": F.hardtanh, "relu6": F.relu6, "hardsigmoid": lambda x: F.relu6(x + 3) / 6,  # whose own gradient is that of f32
        "hardswish": F.hardswish, "tanhshrink": F.tanhshrink, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "logical_not": lambda x: (x > 0).logical_not(), "gelu": F.gelu, "silu": F.silu,
    }
    for name, function in functions.items():
        case(name, [[3, 11]], function, -8, 8)
    case("round", [[3, 11]], lambda x: x.round(), -8, 8)
    case("round halves", [], lambda i: (i * 0.5 - 3).round(), i=([41], 13))
    case("softplus of large ones", [[5]], F.softplus, 30, 900)
    case("logsigmoid of large ones", [[5]], F.logsigmoid, -900, 900)
    case("clamp by tensors", [[4, 5], [5], [4, 1]], lambda x, a, b: torch.clamp(x, a * 0.1 - 0.5, b * 0.1 + 0.5))
    # x * 0 is a tie everywhere, and -0.0 one of both signs.
    case("maximum at ties", [[7], [7]], lambda x, y: torch.maximum(x * 0, y * 0))
    case("minimum at ties", [[7], [7]], lambda x, y: torch.minimum(x * 0 + y, y))
    case("clamp at its bounds", [[7]], lambda x: torch.clamp(x * 0 + 1, 1, 3) + torch.clamp(x * 0 + 3, 1, 3))
    case("elu at 0", [[7]], lambda x: F.elu(x * 0, 0.5))
    case("hardtanh at its bounds", [[7]], lambda x: F.hardtanh(x * 0 + 1) + F.hardtanh(x * 0 - 1))
    case("max at ties", [[7]], lambda x: (x * 0).amax(0))
    case("min at ties", [[7]], lambda x: (x * 0).amin(0))
    case("lerp", [[4, 5], [4, 5]], lambda x, y: torch.lerp(x, y, 0.3))
    case("prelu", [[2, 3, 5], [3]], F.prelu)
    case("prelu one", [[7], [1]], F.prelu)
    case("glu", [[3, 8]], lambda x: F.glu(x))
    case("glu axis 0", [[4, 3]], lambda x: F.glu(x, 0))


def creation():
    case("arange 2 11 3", [], lambda: torch.arange(2, 11, 3))
    case("arange 0.5 2 0.25", [], lambda: torch.arange(0.5, 2, 0.25))
    case("arange 5 to -1", [], lambda: torch.arange(5, -1, -2))
    case("arange 0", [], lambda: torch.arange(0))
    case("eye 3", [], lambda: torch.eye(3))
    case("eye 2 4", [], lambda: torch.eye(2, 4))
    case("linspace", [], lambda: torch.linspace(-1, 2, 7))
    case("linspace of one", [], lambda: torch.linspace(3, 5, 1))
    case("zeros", [], lambda: torch.zeros(2, 0, 3))
    case("ones", [], lambda: torch.ones(3))
    case("full", [], lambda: torch.full((2, 3), -1.5))
    case("scalar", [], lambda: torch.tensor(2.5))
    case("zeros_like", [[2, 3]], torch.zeros_like)
    case("ones_like", [[2, 3]], torch.ones_like)
    case("full_like", [[2, 3]], lambda x: torch.full_like(x, -2))
    case("new_full", [[2, 3]], lambda x: x.new_full((5,), 0.25))


def windows():
    case("conv1d", [[2, 4, 11], [6, 4, 3], [6]], F.conv1d)
    case("conv1d options", [[2, 4, 11], [6, 2, 3]], lambda x, w: F.conv1d(x, w, None, 2, 3, 2, 2))
    pictures = [[2, 3, 7, 8]]
    case("max_pool2d ceil", pictures, lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True))
    case("max_pool2d ceil pairs", pictures, lambda x: F.max_pool2d(x, (2, 4), (3, 3), (1, 0), ceil_mode=True))
    case("avg_pool2d ceil", pictures, lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True))
    case("avg_pool2d without padding", pictures, lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False))
    case("avg_pool2d ceil without padding", pictures, lambda x: F.avg_pool2d(x, (2, 4), (3, 3), (1, 2), True, False))
    case("flatten 0 to 1", [[2, 3, 4]], lambda x: x.flatten(0, 1))
    case("flatten 1 to -2", [[2, 3, 4, 5]], lambda x: x.flatten(1, -2))
    case("flatten 1", [[2, 3, 4]], lambda x: x.flatten(1))
    case("flatten one axis", [[2, 3]], lambda x: x.flatten(1, 1))


def division():
    pairs = [[4, 9], [9]]
    case("fmod", pairs, torch.fmod, -5, 5)
    case("remainder", pairs, torch.remainder, -5, 5)
    case("remainder by -0.7", [[23]], lambda x: torch.remainder(x, -0.7), -5, 5)
    case("floor_divide", pairs, lambda x, y: torch.div(x, y, rounding_mode="floor"), -5, 5)
    # 1 / 0.1 is 10 when rounded and 9.99... exactly.
    whole = lambda i: i - 10.0
    case("remainder near whole quotients", [], lambda i: torch.remainder(whole(i), -0.1), i=([41], 21))
    case("floor_divide near whole quotients", [], lambda i: torch.floor_divide(whole(i), 0.1), i=([41], 21))
    case("floor_divide by 0", [], lambda i: torch.floor_divide(whole(i), i * 0.0), i=([21], 21))


def main():
    for group in (reductions, arranging, indexing, products, attention, norms, pointwise, creation, windows, division):
        group()
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in CASES)
    print(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}')


if __name__ == "__main__":
    main()
