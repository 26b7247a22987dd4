"""Writes elementwise.json: what PyTorch gives for element-wise ops, casts and reductions of every dtype, for tests/ops/elementwise_test.cpp.

usage: python3 elementwise.py > elementwise.json
A case names its op, and for each operand a dtype, a shape, and how it is seen: "transposed" (the last two axes exchanged),
"every other" (of the last axis) or whole. Operand k of "low" and "high" is formula_values(k) of formula.py spread over them, computed in f64;
of "classes", formula_labels(k) less "below"; of "values", each "each" times in a row and all that "times" times. Gradients are those of
the sum of result * formula_values(9), by the operands before they are seen. Results are lists of numbers, or digits of bool.
"""
import json
import math
from math import prod

import torch
import torch.nn.functional as F

from formula import formula_labels, formula_values

torch.backends.mkldnn.set_flags(False)  # whose gelu has no infinities
torch.set_flush_denormal(True)  # results below the smallest normal number are zero, as in the library
CASES = []
DTYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64, "i32": torch.int32,
          "u8": torch.uint8, "bool": torch.bool}
DIGITS = {torch.float64: 12, torch.float32: 9, torch.float16: 9, torch.bfloat16: 9}
VIEWS = {"whole": lambda x: x, "transposed": lambda x: x.transpose(-2, -1), "every other": lambda x: x[..., ::2]}

UNARY = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "square": torch.square, "relu": F.relu, "reciprocal": torch.reciprocal,
    "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
    "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "erf": torch.erf, "floor": torch.floor,
    "gelu": F.gelu, "silu": F.silu, "leaky_relu": F.leaky_relu,
}
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow, "maximum": torch.maximum,
    "minimum": torch.minimum,
}
COMPARE = {
    "greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt, "less_equal": torch.le, "equal": torch.eq, "not_equal": torch.ne,
    "logical_and": torch.logical_and, "logical_or": torch.logical_or,
}
CHECKS = {"isnan": torch.isnan, "isinf": torch.isinf, "isfinite": torch.isfinite, "logical_not": torch.logical_not}
REDUCTIONS = {"sum": torch.sum, "prod": torch.prod, "max": torch.amax, "min": torch.amin, "argmax": torch.argmax, "argmin": torch.argmin,
              "any": lambda x, *axis: torch.any(x != 0, *axis), "all": lambda x, *axis: torch.all(x != 0, *axis)}  # of u8 PyTorch's own are u8
POSITIVE = {"log", "log1p", "sqrt", "rsqrt", "reciprocal", "pow"}


def number(v, digits):
    if isinstance(v, (bool, int)):
        return int(v)
    return float(f"{v:.{digits}g}") if math.isfinite(v) else repr(v)


def numbers(t, exact=False):
    if t.dtype == torch.bool:
        return "".join("01"[v] for v in t.reshape(-1).tolist())
    return [number(v, 17 if exact else DIGITS.get(t.dtype, 0)) for v in t.detach().reshape(-1).tolist()]


def floats(shape, low, high, view="whole", dtype="f64"):
    return {"dtype": dtype, "shape": shape, "low": low, "high": high, "view": view}


def integers(dtype, shape, classes=200, below=100, view="whole"):
    below = 0 if dtype in ("u8", "bool") else below
    return {"dtype": dtype, "shape": shape, "classes": classes, "below": below, "view": view}


def given(dtype, values, each=1, times=1):
    """These values, each so many times in a row, and all that so many times."""
    values = torch.tensor([float(v) for v in values], dtype=torch.float64).to(DTYPES[dtype]) if isinstance(values[0], float) else \
        torch.tensor(values).to(DTYPES[dtype])
    listed = values.tolist()
    listed = [v if isinstance(v, (int, bool)) or math.isfinite(v) else repr(v) for v in listed]
    return {"dtype": dtype, "shape": [len(listed) * each * times], "values": listed, "view": "whole", "each": each, "times": times}


def operand(described, k):
    shape, count, dtype = described["shape"], prod(described["shape"]), DTYPES[described["dtype"]]
    if "values" in described:
        values = [float(v) if isinstance(v, str) else v for v in described["values"]]
        return torch.tensor(values, dtype=dtype).repeat_interleave(described["each"]).repeat(described["times"])
    if "classes" in described:
        labels = torch.tensor(formula_labels(k, count, described["classes"]), dtype=torch.int64)
        return (labels - described["below"]).to(dtype).reshape(shape)
    values = [described["low"] + (described["high"] - described["low"]) * ((v + 1) / 2) for v in formula_values(k, count)]
    return torch.tensor(values, dtype=torch.float64).to(dtype).reshape(shape)


def case(op, function, *described, **more):
    leaves = [operand(d, k) for k, d in enumerate(described, 1)]
    for leaf in leaves:
        leaf.requires_grad_(leaf.is_floating_point())
    y = function(*[VIEWS[d["view"]](leaf) for d, leaf in zip(described, leaves)])
    gradients = []
    if y.requires_grad:
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        weights = torch.tensor(formula_values(9, y.numel()), dtype=torch.float64).to(y.dtype).reshape(y.shape)
        found = torch.autograd.grad((y * weights).sum(), wanted, allow_unused=True)
        gradients = [numbers(torch.zeros_like(x) if g is None else g) for x, g in zip(wanted, found)]
    names = {dtype: name for name, dtype in DTYPES.items()}
    CASES.append({"op": op, **more, "operands": list(described), "dtype": names[y.dtype], "shape": list(y.shape),
                  "values": numbers(y, op == "cast"), "gradients": gradients})


def shapes():
    """Sizes 0 and 1, no axes, a prime number of elements longer than a vector, and operands that do not lie as they are read."""
    for name, function in {**UNARY, **CHECKS}.items():
        low, high = (0.01, 4) if name in POSITIVE else (-4, 4)
        for shape, view in [([0], "whole"), ([], "whole"), ([1, 1], "whole"), ([131], "whole"), ([5, 3], "transposed"),
                            ([2, 7], "every other")]:
            case(name, function, floats(shape, low, high, view))
    pairs = [([5, 1], "whole", [1, 3], "whole"), ([0, 3], "whole", [3], "whole"), ([], "whole", [], "whole"), ([67], "whole", [67], "whole"),
             ([], "whole", [2, 1, 3], "whole"), ([5, 3], "transposed", [3, 5], "whole"), ([2, 7], "every other", [4, 2], "transposed")]
    for name, function in {**BINARY, **COMPARE}.items():
        low, high = (0.01, 4) if name in POSITIVE else (-4, 4)
        for a, seen_a, b, seen_b in pairs:
            case(name, function, floats(a, low, high, seen_a), floats(b, low, high, seen_b))
    for condition, a, b in [([5, 1], [1, 3], [5, 3]), ([0], [0], [1]), ([], [2, 3], []), ([67], [67], [67]), ([3], [2, 1], [])]:
        case("where", torch.where, integers("bool", condition, 2), floats(a, -4, 4), floats(b, -4, 4))
    case("where", torch.where, integers("bool", [5, 3], 2, view="transposed"), floats([3, 5], -4, 4), floats([5, 3], -4, 4, "transposed"))


def specials():
    """At zeros, infinities, NaN, subnormal and large numbers, computed in the dtype itself."""
    for dtype, tiny, huge in [("f32", 2.0**-126, 1e37), ("f64", 2.0**-1022, 1e307)]:
        values = [0.0, -0.0, math.inf, -math.inf, math.nan, tiny * 8, -tiny * 8, tiny / 8, -tiny / 8, huge, -huge, 1.0, -1.0, 0.5, -0.5,
                  30.0, -30.0, 100.0, -100.0, 1e6, -1e6]
        for name, function in {**UNARY, **CHECKS}.items():
            # Where a result is NaN the library's relu passes no gradient on; below 0 the slope of rsqrt has no sign.
            left_out = {"relu": math.isnan, "rsqrt": lambda v: math.copysign(1, v) < 0 and abs(v) < tiny}.get(name, lambda v: False)
            case(name, function, given(dtype, [v for v in values if not left_out(v)]))
        few = [0.0, -0.0, math.inf, -math.inf, math.nan, huge, 1.0, -1.0, 2.0, -3.0, 0.5]
        for name, function in {**BINARY, **COMPARE}.items():
            case(name, function, given(dtype, few, each=len(few)), given(dtype, few, times=len(few)))
        for values in ([1.0, -2.0, 3.0, -0.0, 3.0], [1.0, math.nan, 3.0, math.nan], [math.inf, 1.0, 2.0], [-math.inf, -math.inf],
                       [math.inf, -math.inf, 0.0], [huge, huge, -huge], [math.nan]):
            for name, function in REDUCTIONS.items():
                if name != "prod" or all(map(math.isfinite, values)):  # whose gradient PyTorch divides for, infinity by infinity
                    case(name, function, given(dtype, values))
            case("cumsum", lambda x: x.cumsum(0), given(dtype, values), axis=0)
        case("where", torch.where, given("bool", [True, False] * 6), given(dtype, few + [0.0]), given(dtype, [0.0] + few[::-1]))


def whole_numbers():
    """Arithmetic that wraps, comparisons, and reductions of integers and bool."""
    ends = {"i32": [0, 1, -1, 7, -100, 46341, 2**31 - 1, -2**31], "i64": [0, 1, -1, 7, -100, 2**32, 2**63 - 1, -2**63],
            "u8": [0, 1, 2, 7, 100, 128, 200, 255]}
    for dtype, few in ends.items():
        for name in ("neg", "abs", "sign", "square", "relu"):
            case(name, UNARY[name], given(dtype, few))
            case(name, UNARY[name], integers(dtype, [131]))
        for name in ("add", "sub", "mul", "maximum", "minimum", *COMPARE):
            case(name, {**BINARY, **COMPARE}[name], given(dtype, few, each=len(few)), given(dtype, few, times=len(few)))
            case(name, {**BINARY, **COMPARE}[name], integers(dtype, [5, 3], 5, 2, "transposed"), integers(dtype, [5], 5, 2))
        case("where", torch.where, integers("bool", [5, 1], 2), integers(dtype, [3]), integers(dtype, [5, 3]))
    for name in ("equal", "not_equal", "logical_and", "logical_or", "greater", "less_equal"):
        case(name, COMPARE[name], given("bool", [False, False, True, True]), given("bool", [False, True, False, True]))
    for dtype in ("i64", "i32", "u8", "bool"):
        for name, function in REDUCTIONS.items():
            if dtype == "bool" and name in ("argmax", "argmin"):
                continue  # PyTorch has neither
            case(name, function, integers(dtype, [7, 19], 2 if dtype == "bool" else 200))
            for axis, view in [(0, "whole"), (-1, "whole"), (1, "transposed")]:
                classes = 2 if dtype == "bool" else 3 if name == "prod" else 20
                case(name, lambda x: function(x, axis), integers(dtype, [5, 11], classes, 1 if name == "prod" else 10, view), axis=axis)
        case("sum", lambda x: x.sum(0), integers(dtype, [0, 3], 2), axis=0)
        case("cumsum", lambda x: x.cumsum(0), integers(dtype, [131], 2 if dtype == "bool" else 200), axis=0)


def casts():
    """To every dtype, where C has a meaning for it: truncation towards zero, wrapping of integers, rounding to even, 0 and not 0."""
    real = [0.0, -0.0, 0.9, -0.9, 1.5, 2.5, -2.5, 100.25, 254.999, 1.0 + 2.0**-8, 1.0 + 2.0**-9, 1.0 + 2.0**-11, 1.0 + 3 * 2.0**-11, 2049.0]
    sources = {"f64": real + [1e300, -1e300, 1e-300, math.inf, -math.inf, math.nan, 65504.0, 65519.0, 65520.0, 1e-8, 2.0**-24],
               "f32": real + [3e38, math.inf, -math.inf, math.nan, 65520.0], "f16": real + [65504.0, math.inf, math.nan],
               "bf16": real + [3e38, math.inf, math.nan], "i64": [0, 1, -1, 255, 256, 300, 65535, 2**31, 2**53 + 1, -2**63],
               "i32": [0, 1, -1, 255, 256, 300, 2**24 + 1, -2**31], "u8": [0, 1, 127, 255], "bool": [False, True]}
    for source, values in sources.items():
        for target, dtype in DTYPES.items():
            if target == source:
                continue
            chosen = values
            if isinstance(values[0], float) and target in ("i64", "i32"):  # a fraction whose whole part fits
                chosen = [v for v in values if abs(v) < 2**31]
            if isinstance(values[0], float) and target == "u8":
                chosen = [v for v in values if -1 < v < 256]
            case("cast", lambda x: x.to(dtype), given(source, chosen))
    for source, target in [("f64", "f32"), ("f32", "f64"), ("f32", "f16"), ("f32", "bf16")]:  # 131 numbers that round
        case("cast", lambda x: x.to(DTYPES[target]), floats([131], -4, 4, dtype=source))
    case("cast", lambda x: x.to(torch.int32), floats([5, 3], -100, 100, "transposed", "f32"))


def main():
    for group in (shapes, specials, whole_numbers, casts):
        group()
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in CASES)
    print(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}')


if __name__ == "__main__":
    main()
