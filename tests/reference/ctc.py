"""Writes ctc.json: PyTorch's CTC loss in float64 and its gradient to the logits, from inputs of formula.py.

usage: python3 ctc.py > ctc.json
"""
import json
import sys
from math import prod

import torch
from torch import nn

from formula import formula_labels, formula_values

torch.set_default_dtype(torch.float64)


def case(t, n, c, s, input_lengths, target_lengths, targets=None, **config):
    logits = (2 * torch.tensor(formula_values(1, t * n * c))).reshape(t, n, c).requires_grad_()
    blank = config.get("blank", 0)
    drawn = [label + (label >= blank) for label in formula_labels(2, n * s, c - 1)]
    targets = targets or torch.tensor(drawn).reshape(n, s).tolist()
    loss = nn.CTCLoss(**config)(logits.log_softmax(2), torch.tensor(targets), torch.tensor(input_lengths),
                                torch.tensor(target_lengths))
    (loss if loss.ndim == 0 else (loss ** 2).sum()).backward()
    return dict(config=config, shape=[t, n, c], targets=targets, input_lengths=input_lengths, target_lengths=target_lengths,
                value=loss.detach().reshape(-1).tolist(), gradient=logits.grad.reshape(-1).tolist())


def main():
    cases = [case(9, 3, 5, 4, [9, 7, 9], [4, 2, 3], reduction=r) for r in ["mean", "sum", "none"]]
    cases += [case(9, 3, 5, 4, [9, 7, 9], [4, 2, 3], blank=3),
              case(6, 2, 4, 3, [6, 5], [3, 0]),
              case(8, 2, 3, 3, [8, 8], [3, 3], targets=[[1, 1, 1], [2, 1, 1]]),
              case(4, 3, 4, 3, [4, 4, 2], [3, 3, 3], targets=[[1, 1, 1], [1, 2, 3], [1, 2, 3]], zero_infinity=True),
              case(1, 2, 3, 1, [1, 1], [1, 0])]
    write = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    sys.stdout.write(f'{{"torch":"{torch.__version__}","cases":[\n{write}\n]}}\n')


if __name__ == "__main__":
    main()
