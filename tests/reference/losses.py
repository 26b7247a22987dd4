"""Writes losses.json: values and gradients of PyTorch's losses in float64, from inputs of formula.py.

usage: python3 losses.py > losses.json
Inputs: x_i = low + (high - low) (formula_values(i) + 1) / 2 over the shape, or "values"; labels = formula_labels; "range" is [low, high].
"""
import json
import math

import torch
import torch.nn.functional as F
from torch import nn

from formula import formula_labels, formula_values

EXTREMES = [-1e4, -100, -30, -1e-3, 0, 1e-3, 30, 100, 1e4, -0.5, 0.5, 2]


def real(stream, shape, low=-2, high=2):
    values = [low + (high - low) * (v + 1) / 2 for v in formula_values(stream, math.prod(shape))]
    return dict(shape=shape, values=values)


def ones(stream, shape):
    return dict(shape=shape, values=[1.0 if v > 0 else -1.0 for v in formula_values(stream, math.prod(shape))])


def bits(stream, shape):
    return dict(shape=shape, values=[1.0 if v > 0 else 0.0 for v in formula_values(stream, math.prod(shape))])


def labels(stream, shape, classes):
    return dict(shape=shape, labels=formula_labels(stream, math.prod(shape), classes))


def soft(stream, shape):
    t = torch.softmax(to_tensor(real(stream, shape)), 1)
    return dict(shape=shape, values=t.flatten().tolist())


def log_probabilities(stream, shape):
    return dict(shape=shape, values=torch.log_softmax(to_tensor(real(stream, shape)), 1).flatten().tolist())


def extremes(shape=(4, 3)):
    return dict(shape=list(shape), values=[float(v) for v in EXTREMES])


def to_tensor(given):
    if "labels" in given:
        return torch.tensor(given["labels"]).reshape(given["shape"])
    return torch.tensor(given["values"], dtype=torch.float64).reshape(given["shape"])


class Focal(nn.Module):
    """Lin et al. 2017 as torchvision.ops.sigmoid_focal_loss writes it."""

    def __init__(self, alpha=0.25, gamma=2, reduction="mean"):
        super().__init__()
        self.alpha, self.gamma, self.reduction = alpha, gamma, reduction

    def forward(self, x, t):
        p = torch.sigmoid(x)
        loss = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - (p * t + (1 - p) * (1 - t))) ** self.gamma
        if self.alpha >= 0:
            loss = loss * (self.alpha * t + (1 - self.alpha) * (1 - t))
        return dict(none=lambda: loss, mean=loss.mean, sum=loss.sum)[self.reduction]()


W5 = [0.5, 2, 1, 0.25, 3]
LOSSES = [
    ("cross-entropy", nn.CrossEntropyLoss, [
        ({}, [real(1, [7, 5]), labels(2, [7], 5)]),
        ({}, [real(1, [1, 1]), labels(2, [1], 1)]),
        ({}, [real(3, [2, 5, 3, 2], -30, 30), labels(4, [2, 3, 2], 5)]),
        ({}, [extremes(), labels(4, [4], 3)]),
        (dict(weight=W5), [real(5, [7, 5]), labels(6, [7], 5)]),
        (dict(weight=W5), [real(5, [2, 5, 3]), labels(6, [2, 3], 5)]),
        (dict(ignore_index=2), [real(7, [11, 5]), labels(8, [11], 5)]),
        (dict(ignore_index=-100), [real(7, [3, 5]), dict(shape=[3], labels=[-100, 4, 0])]),
        (dict(label_smoothing=0.1), [real(9, [7, 5]), labels(10, [7], 5)]),
        (dict(label_smoothing=0.3, weight=W5, ignore_index=1), [real(9, [7, 5]), labels(10, [7], 5)]),
        ({}, [real(11, [7, 5]), soft(12, [7, 5])]),
        (dict(label_smoothing=0.2, weight=W5), [real(11, [3, 5, 2]), soft(12, [3, 5, 2])])]),
    ("nll", nn.NLLLoss, [
        ({}, [log_probabilities(1, [7, 5]), labels(2, [7], 5)]),
        (dict(weight=W5, ignore_index=3), [log_probabilities(1, [2, 5, 3]), labels(2, [2, 3], 5)])]),
    ("multi-margin", nn.MultiMarginLoss, [
        ({}, [real(1, [7, 5]), labels(2, [7], 5)]),
        (dict(p=2, margin=0.7, weight=W5), [real(3, [7, 5]), labels(4, [7], 5)])]),
    ("mse", nn.MSELoss, [({}, [real(1, [7, 3]), real(2, [7, 3])]), ({}, [real(1, [5]), real(2, [5])])]),
    ("l1", nn.L1Loss, [({}, [real(1, [7, 3, 2]), real(2, [7, 3, 2])])]),
    ("smooth-l1", nn.SmoothL1Loss, [({}, [real(1, [7, 3]), real(2, [7, 3])]), (dict(beta=0.3), [real(1, [7, 3]), real(2, [7, 3])]),
                                    (dict(beta=0), [real(1, [7, 3]), real(2, [7, 3])])]),
    ("huber", nn.HuberLoss, [({}, [real(1, [7, 3]), real(2, [7, 3])]), (dict(delta=0.3), [real(1, [7, 3]), real(2, [7, 3])])]),
    ("bce", nn.BCELoss, [
        ({}, [real(1, [7, 3], 0.01, 0.99), real(2, [7, 3], 0, 1)]),
        ({}, [dict(shape=[4], values=[0.0, 1.0, 1e-13, 1e-9]), dict(shape=[4], values=[1.0, 0.0, 1.0, 0.0])])]),
    ("bce-with-logits", nn.BCEWithLogitsLoss, [
        ({}, [real(1, [7, 3]), real(2, [7, 3], 0, 1)]), ({}, [extremes(), bits(3, [4, 3])]),
        (dict(pos_weight=[2, 0.5, 1]), [extremes(), bits(3, [4, 3])]), (dict(pos_weight=[3]), [real(1, [7, 3]), bits(2, [7, 3])])]),
    ("focal", Focal, [
        ({}, [real(1, [7, 3]), bits(2, [7, 3])]), ({}, [dict(shape=[2, 3], values=[-30, -1e-3, 0, 1e-3, 30, 100]), bits(3, [2, 3])]),
        (dict(alpha=-1, gamma=1.5), [real(1, [7, 3]), bits(2, [7, 3])])]),
    ("kl-div", nn.KLDivLoss, [
        ({}, [log_probabilities(1, [7, 5]), soft(2, [7, 5])]),
        ({}, [log_probabilities(1, [2, 2]), dict(shape=[2, 2], values=[0.0, 1.0, 0.25, 0.75])]),
        (dict(log_target=True), [log_probabilities(1, [7, 5]), log_probabilities(2, [7, 5])])]),
    ("hinge-embedding", nn.HingeEmbeddingLoss, [
        ({}, [real(1, [7, 3]), ones(2, [7, 3])]), (dict(margin=0.3), [real(1, [7, 3]), ones(2, [7, 3])])]),
    ("cosine-embedding", nn.CosineEmbeddingLoss, [
        ({}, [real(1, [7, 4]), real(2, [7, 4]), ones(3, [7])]), (dict(margin=-0.4), [real(1, [7, 4]), real(2, [7, 4]), ones(3, [7])])]),
    ("triplet-margin", nn.TripletMarginLoss, [
        ({}, [real(1, [7, 4]), real(2, [7, 4]), real(3, [7, 4])]),
        (dict(margin=0.5, p=1, swap=True), [real(1, [7, 4]), real(2, [7, 4]), real(3, [7, 4])]),
        (dict(p=3, eps=0.1), [real(1, [7, 4]), real(2, [7, 4]), real(3, [7, 4])])]),
]


def number(v):
    return v if isinstance(v, int) else float(f"{v:.14g}")


def evaluated(kind, config, inputs, reduction):
    weights = {k: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v for k, v in config.items()}
    tensors = [to_tensor(given) for given in inputs]
    differentiated = [t.requires_grad_() for t in (tensors if kind is nn.TripletMarginLoss else
                                                   tensors[:2] if kind is nn.CosineEmbeddingLoss else tensors[:1])]
    loss = kind(**weights, reduction=reduction)(*tensors)
    # Of "none" the gradient is that of the sum of squares, which tells elements apart.
    (loss if loss.ndim == 0 else (loss ** 2).sum()).backward()
    return dict(reduction=reduction, value=[number(v) for v in loss.detach().flatten().tolist()],
                grads=[[number(v) for v in t.grad.flatten().tolist()] for t in differentiated])


def main():
    cases = []
    for name, kind, given in LOSSES:
        for config, inputs in given:
            reductions = ["mean", "sum", "none"] + (["batchmean"] if name == "kl-div" else [])
            cases.append(dict(loss=name, config=config,
                              inputs=[{k: [number(v) for v in vs] for k, vs in given.items()} for given in inputs],
                              results=[evaluated(kind, config, inputs, r) for r in reductions]))
    print(json.dumps(dict(pytorch=torch.__version__, cases=cases), separators=(",", ":")).replace('},{"loss"', '},\n{"loss"'))


if __name__ == "__main__":
    main()
