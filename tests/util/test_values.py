"""Frozen values behave as the standard library's frozen dataclasses with slots, but compile nothing before they are used."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from types import FrameType
from typing import Any, ClassVar

import pytest

from kvsync.util import values

MAKERS: list[Callable[..., Callable[[type], Any]]] = [dataclasses.dataclass, values.dataclass]


def made_by(dataclass: Callable[..., Callable[[type], Any]]) -> tuple[Any, Any]:
    """A class and its subclass, with every kind of field that kvsync uses."""

    @dataclass(frozen=True, slots=True)
    class Base:
        """A value."""

        kind: ClassVar[str] = "base"
        key: str
        size: int = 3
        tags: list[str] = field(default_factory=list, repr=False, compare=False)
        full: str = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "full", f"{self.key}/{self.size}")

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        """A value with one more field, and a form of its own."""

        extra: tuple[int, ...] = ()

        def __repr__(self) -> str:
            return f"<{self.full}>"

    return Base, Derived


@pytest.mark.parametrize("dataclass", MAKERS)
def test_a_value_is_a_frozen_dataclass(dataclass: Callable[..., Callable[[type], Any]]) -> None:
    """Defaults, factories, derived fields, equality, hash, repr, copies and errors are those of a dataclass."""
    base, derived = made_by(dataclass)
    one = base("a", tags=["x"])
    name = base.__qualname__
    assert repr(one) == f"{name}(key='a', size=3, full='a/3')"
    assert (one, hash(one)) == (base("a"), hash(base("a")))
    assert one != base("a", 4)
    assert one != derived("a")
    assert base("a").tags is not base("a").tags
    assert repr(derived("a", 1, extra=(2,))) == "<a/1>"
    assert dataclasses.replace(one, size=5).full == "a/5"
    assert dataclasses.asdict(one) == {"key": "a", "size": 3, "tags": ["x"], "full": "a/3"}
    assert copy.copy(one) == copy.deepcopy(one) == one
    assert base.__match_args__ == ("key", "size", "tags")
    assert str(inspect.signature(derived)) == (
        "(key: 'str', size: 'int' = 3, tags: 'list[str]' = <factory>, extra: 'tuple[int, ...]' = ()) -> None"
    )
    with pytest.raises(FrozenInstanceError):
        one.key = "b"
    with pytest.raises(FrozenInstanceError):
        del one.size
    with pytest.raises(AttributeError):
        object.__setattr__(one, "other", 1)
    with pytest.raises(TypeError, match="key"):
        base()


@values.dataclass(frozen=True, slots=True)
class Point:
    """A value of this module."""

    x: int
    y: int = 0


def test_a_value_can_be_pickled() -> None:
    """A value survives pickle, although its fields cannot be set."""
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)


def test_classes_of_which_no_value_is_made_compile_nothing() -> None:
    """Defining a class compiles no method; its first value compiles one."""
    compiled: list[str] = []

    def note(_frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call" and what is exec:
            compiled.append("exec")

    sys.setprofile(note)
    try:
        _, derived = made_by(values.dataclass)
        defined = len(compiled)
        derived("a"), derived("b")
    finally:
        sys.setprofile(None)
    assert (defined, len(compiled)) == (0, 1)
