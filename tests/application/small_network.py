"""A network in an ONNX file, written by hand: the mean of each picture, float32[n, 1]."""

from __future__ import annotations

__all__ = ["mean_network"]


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def _field(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a protocol buffer: a number, or what has a length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _whole(name: str, value: int) -> bytes:
    return _field(1, name) + _field(3, value) + _field(20, 2)


def _wholes(name: str, *values: int) -> bytes:
    return _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, 7)


def _node(kind: str, taken: str, given: str, *attributes: bytes) -> bytes:
    own = b"".join(_field(5, attribute) for attribute in attributes)
    return _field(1, taken) + _field(2, given) + _field(4, kind) + own


def _tensor(name: str, *sides: int | str) -> bytes:
    """Return what says that *name* is of float32; a side with a name is any."""
    dimensions = b"".join(
        _field(1, _field(2 if isinstance(side, str) else 1, side)) for side in sides
    )
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dimensions)))


def mean_network(side: int) -> bytes:
    """Return a network that takes float32[n, 3, side, side] and gives each picture's mean.

    Source: onnx.proto of ONNX, IR version 8, operators of opset 13.
    """
    graph = (
        _field(1, _node("Flatten", "pictures", "rows", _whole("axis", 1)))
        + _field(1, _node("ReduceMean", "rows", "means", _wholes("axes", 1)))
        + _field(2, "mean")
        + _field(11, _tensor("pictures", "n", 3, side, side))
        + _field(12, _tensor("means", "n", 1))
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))
