"""Frozen values behave as the standard library's frozen dataclasses with slots, but compile nothing before they are used."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from types import FrameType
from typing import Any, ClassVar, cast

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


@pytest.mark.parametrize("dataclass", MAKERS)
def test_a_frozen_class_without_slots_keeps_what_it_computed(dataclass: Callable[..., Callable[[type], Any]]) -> None:
    """Without slots a value has a `__dict__` for attributes that are computed once; its fields are still frozen."""

    @dataclass(frozen=True)
    class Line:
        """A value that computes."""

        words: tuple[str, ...]
        marks: list[str] = field(default_factory=list, compare=False)

        @functools.cached_property
        def text(self) -> str:
            """The words as one."""
            return " ".join(self.words)

    one: Any = Line(("a", "b"))
    assert (one.text, one.text is one.text) == ("a b", True)
    assert (one, hash(one)) == (Line(("a", "b"), ["x"]), hash(Line(("a", "b"))))
    assert copy.copy(one) == dataclasses.replace(one, marks=["y"]) == one
    assert dataclasses.replace(one, words=("c",)).text == "c"
    with pytest.raises(FrozenInstanceError):
        one.words = ()
    with pytest.raises(FrozenInstanceError):
        one.other = 1


@pytest.mark.parametrize("dataclass", MAKERS)
def test_a_class_that_is_not_frozen_can_be_changed(dataclass: Callable[..., Callable[[type], Any]]) -> None:
    """The fields of one with slots can be set, others cannot be added, and it is not hashable."""

    @dataclass(slots=True)
    class Count:
        """What is counted."""

        name: str
        number: int = 0
        seen: list[str] = field(default_factory=list)

    one: Any = Count("a")
    one.number = 2
    one.seen.append("x")
    assert one == Count("a", 2, ["x"]) != Count("a")
    assert dataclasses.replace(one, number=3) == Count("a", 3, ["x"])
    assert pickle.loads(pickle.dumps(copy.copy(one).seen)) == ["x"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(AttributeError):
        one.other = 1


@pytest.mark.parametrize("dataclass", MAKERS)
def test_values_with_an_order_are_sorted_by_their_fields(dataclass: Callable[..., Callable[[type], Any]]) -> None:
    """Values of one class are ordered by the fields that are compared; values of two classes are not."""

    @dataclass(frozen=True, slots=True, order=True)
    class Version:
        """A value with an order."""

        major: int
        note: str = field(default="", compare=False)
        minor: int = 0

    low, high = Version(1, "z", 2), Version(1, "a", 10)
    assert sorted([high, Version(2), low]) == [low, high, Version(2)]
    assert low < high
    assert high > low
    assert low <= Version(1, "b", 2) >= low
    assert not low < Version(1, "b", 2)
    with pytest.raises(TypeError):
        assert low < cast(Any, Point(1))


def test_classes_with_few_values_compile_nothing() -> None:
    """Defining a class compiles no method and makes no field; a class with many values compiles one."""
    compiled: list[str] = []
    fields: list[str] = []

    def note(frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call" and what is exec:
            compiled.append("exec")
        if event == "call" and frame.f_code is dataclasses.Field.__init__.__code__:
            fields.append("field")

    sys.setprofile(note)
    try:
        _, derived = made_by(values.dataclass)
        defined = len(compiled), len(fields)
        derived("a"), derived("b")
        few = len(compiled)
        for _ in range(100):
            derived("a")
    finally:
        sys.setprofile(None)
    assert (defined, few, len(compiled)) == ((0, 2), 0, 1)  # the fields that the classes themselves describe


@pytest.mark.parametrize("dataclass", MAKERS)
@pytest.mark.parametrize("made_before", [0, 100])
def test_arguments_that_do_not_fit_are_refused(
    dataclass: Callable[..., Callable[[type], Any]], made_before: int
) -> None:
    """The first values of a class refuse the same arguments as the later ones, with the errors of Python."""

    @dataclass(frozen=True, slots=True)
    class Size:
        """Two arguments, and a derived field."""

        width: int
        height: int = 5
        area: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "area", self.width * self.height)

    for _ in range(made_before):
        assert Size(2).area == 10
    for arguments, named, message in (
        ((), {"height": 1}, "missing 1 required positional argument: 'width'"),
        ((1, 2, 3), {}, "takes from 2 to 3 positional arguments but 4 were given"),
        ((1,), {"width": 2}, "multiple values for argument 'width'"),
        ((1,), {"area": 2}, "unexpected keyword argument 'area'"),
        ((1,), {"depth": 2}, "unexpected keyword argument 'depth'"),
    ):
        with pytest.raises(TypeError, match=f"__init__\\(\\) .*{message}"):
            Size(*arguments, **named)
    assert Size(height=3, width=2) == Size(2, 3)


@pytest.mark.parametrize("dataclass", MAKERS)
@pytest.mark.parametrize("made_before", [0, 100])
def test_a_field_without_an_argument_has_its_default(
    dataclass: Callable[..., Callable[[type], Any]], made_before: int
) -> None:
    """A field with `init=False` and a default or a factory is set for each value."""

    @dataclass(slots=True)
    class Count:
        """What is counted."""

        name: str
        number: int = field(default=3, init=False)
        seen: list[str] = field(default_factory=list, init=False)

    for _ in range(made_before):
        Count("a")
    one, other = Count("a"), Count(name="b")
    one.seen.append("x")
    assert (one.number, one.seen, other.number, other.seen) == (3, ["x"], 3, [])


def test_fields_have_the_types_that_were_written() -> None:
    """The fields of a class and of its base name their types as the source does."""
    _, derived = made_by(values.dataclass)
    assert {one.name: one.type for one in dataclasses.fields(derived)} == {
        "key": "str",
        "size": "int",
        "tags": "list[str]",
        "full": "str",
        "extra": "tuple[int, ...]",
    }


def test_a_subclass_is_described_before_its_base() -> None:
    """Fields, patterns and comparisons of a subclass are right, also if nothing asked for those of its base before."""
    _, derived = made_by(values.dataclass)
    assert derived.__match_args__ == ("key", "size", "tags", "extra")
    _, derived = made_by(values.dataclass)
    assert [one.name for one in dataclasses.fields(derived)] == ["key", "size", "tags", "full", "extra"]
    _, derived = made_by(values.dataclass)
    assert derived.__hash__ is not derived.__mro__[1].__hash__


def test_a_plain_subclass_compares_as_its_base_does() -> None:
    """A class that only inherits has the methods of its base, and its values equal only those of its own class."""

    class Plain(Point):
        """The same with another name."""

    assert Plain(1) == Plain(1, 0)
    assert Plain(1) != Point(1)
    assert hash(Plain(1)) == hash(Point(1))
    assert repr(Plain(1)).endswith("Plain(x=1, y=0)")


def test_classes_with_as_many_fields_share_the_code_of_init() -> None:
    """The code is compiled once; names, defaults and errors are those of each class."""

    @values.dataclass(frozen=True, slots=True)
    class Size:
        """Two fields with other names."""

        width: int
        height: int = 5

        def __post_init__(self) -> None:
            if self.height < 0:
                raise ValueError("too low")

    @values.dataclass(frozen=True, slots=True)
    class Span:
        """Two fields without defaults."""

        begin: int
        end: int

        def __post_init__(self) -> None:
            object.__setattr__(self, "end", self.end + 1)

    for _ in range(100):
        Size(1)
    compiled: list[str] = []
    sys.setprofile(lambda _frame, event, what: compiled.append(event) if event == "c_call" and what is exec else None)
    try:
        for _ in range(100):
            span = Span(end=2, begin=1)
    finally:
        sys.setprofile(None)
    assert compiled == []
    assert (span.begin, span.end, Size(3).height, Size(3, 4).height) == (1, 3, 5, 4)
    assert str(inspect.signature(Span)) == "(begin: 'int', end: 'int') -> None"
    with pytest.raises(ValueError, match="too low"):
        Size(1, -1)
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'end'"):
        Span(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'high'"):
        Size(1, high=2)  # type: ignore[call-arg]


def test_a_field_without_a_default_cannot_follow_one_with_a_default() -> None:
    """No argument is taken for another one."""

    @values.dataclass(frozen=True, slots=True)
    class Wrong:
        """Refused when the first value is made."""

        first: int = 1
        second: int  # type: ignore[misc]

    with pytest.raises(SyntaxError, match="default"):
        Wrong(1, 2)
