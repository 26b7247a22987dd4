"""Writes tensors.json: what NumPy prints, and what PyTorch rounds to f16 and bf16, for the tests of
tests/graph/tensor_test.cpp.

usage: python3 tensors.py > tensors.json
"""
import json

import numpy as np
import torch

from formula import formula_values

NAMES = {"float32": "f32", "float64": "f64", "float16": "f16", "int64": "i64", "int32": "i32", "uint8": "u8", "bool": "bool"}


def printed(array):
    array = np.asarray(array)
    values = [v if isinstance(v, (int, bool)) or np.isfinite(v) else repr(v) for v in array.astype(np.float64 if array.dtype.kind == "f" else array.dtype).reshape(-1).tolist()]
    if array.size > 200:  # which the test makes itself
        values = "range" if array.dtype.kind == "i" else "formula"
    return {"dtype": NAMES[array.dtype.name], "shape": list(array.shape), "values": values, "text": str(array)}


def arrays():
    values = np.array(formula_values(1, 6000))
    yield np.array([1.0, 2.5, -3.0])
    yield np.array([[1.0, 2.25], [100.0, 0.0]], np.float32)
    yield values[:12].reshape(3, 4)
    yield values[:12].reshape(3, 4).astype(np.float32)
    yield values[:24].reshape(2, 3, 4).astype(np.float32) * 100
    yield values[:8] * 1e-5
    yield values[:8] * 1e12
    yield np.array([1e-5, 1.0], np.float32)
    yield np.array([0.0001, 0.05], np.float32)
    yield np.array([1e6, 2e6], np.float32)
    yield np.array([999999.0, 5.0], np.float64)
    yield np.array([1e10, 2e10])
    yield np.array([1e-300, 1e300])
    yield np.array([0.1, 0.2, 0.3], np.float32)
    yield np.array([1 / 3, 2 / 3])
    yield np.array([0.999999999, 1.5])
    yield np.array([np.nan, 1.0, -np.inf])
    yield np.array([np.nan, np.inf, 1e10, 3.25e-7])
    yield np.array([np.nan, np.inf])
    yield np.array([0.0, -0.0])
    yield np.arange(100)
    yield np.arange(100) * 0.5
    yield np.arange(-7, 5).reshape(2, 2, 3)
    yield values[:60].reshape(2, 30).astype(np.float32)
    yield np.array([True, False, True])
    yield np.array([[1, 200], [3, 4]], np.uint8)
    yield np.array([-1, 2147483647], np.int32)
    yield np.arange(2000)
    yield values.reshape(60, 100)
    yield values.reshape(20, 3, 100).astype(np.float32)
    yield values[:4096].reshape(8, 8, 8, 8)
    yield np.zeros((0, 3))
    yield np.zeros((1, 1), np.float32)
    yield np.array([0.1, 2.5, 1 / 3], np.float16)
    yield np.array([65504, 6e-8], np.float16)
    for scalar in (0.1, 1.0, -2.5, 1e16, 123456789.0, 1e-5, np.nan, 0.0):
        yield np.array(scalar)
    yield np.array(0.1, np.float32)
    yield np.array(7)
    yield np.array(True)


def halves():
    """f32 bits that are interesting to round: every exponent around f16's range, with mantissas at, below and above ties."""
    bits = []
    for exponent in [0, 1, 2] + list(range(100, 145)) + [253, 254, 255]:
        for mantissa in (0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0x17FFF, 0x18000, 0x18001, 0x7FE000, 0x7FEFFF, 0x7FF000, 0x7F7FFF, 0x7F8000, 0x7FFFFF):
            if exponent == 255 and mantissa:
                continue
            for sign in (0, 1):
                bits.append(sign << 31 | exponent << 23 | mantissa)
    x = torch.tensor(np.array(bits, dtype=np.uint32).view(np.float32))
    rounded = {name: x.to(dtype).view(torch.int16).numpy().view(np.uint16).tolist()
               for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16))}
    assert rounded["f16"] == x.numpy().astype(np.float16).view(np.uint16).tolist()
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16)
    wide = {name: every.view(dtype).to(torch.float32) for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16))}
    sums = {name: int(w[~w.isnan()].view(torch.int32).to(torch.int64).sum()) for name, w in wide.items()}
    return {"bits": bits, **rounded, "sum_of_wide_bits": sums}


def main():
    with np.errstate(over="ignore"):
        print(json.dumps({"numpy": np.__version__, "torch": torch.__version__, "printed": [printed(a) for a in arrays()],
                          "halves": halves()}, separators=(",", ":")))


if __name__ == "__main__":
    main()
