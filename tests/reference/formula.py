"""Numbers that the references in this folder and the C++ tests both compute: tests/support/formula.h is the other side."""


def formula_values(stream, count):
    """`count` numbers in [-1, 1) on a grid of 2^-23, exact in float32; `stream` tells tensors apart."""
    values = []
    for i in range(count):
        x = (stream * 0x9E3779B1 + i * 0x85EBCA77 + 0x165667B1) & 0xFFFFFFFF
        for multiplier in (0x21F0AAAD, 0x735A2D97):
            x = ((x ^ (x >> 16)) * multiplier) & 0xFFFFFFFF
        x ^= x >> 15
        values.append((x >> 8) / 2**23 - 1)
    return values


def formula_labels(stream, count, classes):
    """`count` integers in [0, classes)."""
    return [int((v + 1) / 2 * classes) for v in formula_values(stream, count)]
