"""Plain data (from YAML or JSON) -> frozen dataclasses, strictly: an unknown, missing or mistyped field is an error that names it."""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

NAMES: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 80, 80


class RecordError(ValueError):
    """The data does not have the shape of the record; the message says where and what was expected."""


def read_record(kind: type[T], data: object, where: str, **known: Any) -> T:
    """`data` (a mapping) as the dataclass `kind`. `known` fields are given by the caller and may not stand in the data; a field with a
    default may be left out.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Point:
    ...     x: float
    >>> read_record(Point, {"x": 1}, "point")
    Point(x=1.0)
    >>> read_record(Point, {"y": 1}, "point")
    Traceback (most recent call last):
    emoser.records.RecordError: point: unknown field "y"; fields are: x
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"{where}: expected fields and values, got {_shown(data)}")
    shape = _shape(kind)  # type: ignore[arg-type]
    names = [name for name in shape.hints if name not in known]
    for key in data:
        if key not in names:
            near = get_close_matches(str(key), names, 1)
            hint = f', near "{near[0]}"' if near else ""
            raise RecordError(f'{where}: unknown field "{key}"{hint}; fields are: {", ".join(names)}')
    missing = [name for name in names if name not in data and name not in shape.optional]
    if missing:
        raise RecordError(f"{where}: missing field{'s' * (len(missing) > 1)} {', '.join(missing)}")
    values = {name: _value(shape.hints[name], data[name], f"{where}, {name}") for name in names if name in data}
    try:
        return kind(**known, **values)
    except RecordError as error:  # what the record itself says of its values
        raise RecordError(f"{where}, {error}") from None


class _Shape(NamedTuple):
    hints: dict[str, Any]  # field -> type, in the fields' order
    optional: frozenset[str]


@cache
def _shape(kind: Any) -> _Shape:
    """Of a dataclass; taken once, for evaluating the annotations takes longer than all else that reads a record."""
    hints = get_type_hints(kind)
    return _Shape(
        {field.name: hints[field.name] for field in fields(kind)}, frozenset(f.name for f in fields(kind) if f.default is not MISSING)
    )


def _value(kind: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not type(None))
        return _value(kind, value, where)
    if origin is Literal:
        if value not in arguments:
            raise RecordError(f"{where}: expected one of {', '.join(arguments)}, got {_shown(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise RecordError(f"{where}: expected a list, got {_shown(value)}")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise RecordError(f"{where}: expected {len(arguments)} values, got {len(value)}")
        return tuple(_value(item, part, f"{where}[{i}]") for i, (item, part) in enumerate(zip(arguments, value, strict=True)))
    if is_dataclass(kind):
        return read_record(kind, value, where)  # type: ignore[arg-type]
    # bool is a subclass of int, and YAML reads `no` as false: neither may pass for what it is not.
    number = isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    if kind is float and number:
        return float(value)  # type: ignore[arg-type]
    if type(value) is not kind or (kind is float and not number):
        raise RecordError(f"{where}: expected {NAMES[kind]}, got {_shown(value)}")
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def _shown(value: object) -> str:
    """Cut short: a listing is somebody else's file, and a few hundred bytes of YAML can name a value of gigabytes."""
    return f"{SHORT.repr(value)} ({NAMES.get(type(value), type(value).__name__)})"
