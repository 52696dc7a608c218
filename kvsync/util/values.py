"""Frozen dataclasses that cost a tenth to define.

`dataclasses.dataclass` compiles six methods for every class, in half a millisecond: a tenth of a second for the two hundred
classes that a command imports, and it makes values of half of them. Here classes share their methods, and `__init__` is
compiled when the first value is made. For type checkers, and for `fields`, `replace` and `asdict`, this is the decorator of the
standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from dataclasses import dataclass as _dataclass
from operator import attrgetter
from reprlib import recursive_repr
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final


class _Factory:
    """Default of an argument whose value is made by a factory, for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_UNSET: Final = _Factory()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool = False, slots: bool = False, **others: Any) -> Callable[[type], type]:
        """Make a dataclass. Any other than a frozen one with slots is made by the standard library."""
        return _frozen if frozen and slots and not others else _dataclass(frozen=frozen, slots=slots, **others)


def _frozen(cls: type) -> Any:
    made: Any = _dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    methods = {"__init__": _Init(made), "__setattr__": _refuse, "__delattr__": _refuse}
    methods |= {"__repr__": _repr, "__getstate__": _state, "__setstate__": _restore} | _comparison(made)
    own = vars(cls)
    for name, method in methods.items():
        if own.get(name) is None:
            setattr(made, name, method)
    return made


class _Init:
    """`__init__` of a class of which there is no value yet: compiles the real one, and is replaced by it."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def __get__(self, value: object, owner: type | None = None) -> Callable[..., None]:
        self._cls.__init__ = init = _compiled_init(self._cls)
        bound: Callable[..., None] = init.__get__(value, owner)
        return bound


def _compiled_init(cls: Any) -> FunctionType:
    known: dict[str, Any] = {"_set": object.__setattr__, "_unset": _UNSET}
    lines = [line for one in fields(cls) for line in _assignment(one, known)]
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    arguments = ", ".join(["self", *(_argument(one) for one in fields(cls) if one.init)])
    source = f"def __init__({arguments}):\n  " + "\n  ".join(lines or ["pass"])
    exec(source, known)  # noqa: S102 - made of the names of fields only  # nosec B102
    init: FunctionType = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {one.name: one.type for one in fields(cls) if one.init} | {"return": None}
    return init


def _argument(one: Field[Any]) -> str:
    if one.default_factory is not MISSING:
        return f"{one.name}=_unset"
    return one.name if one.default is MISSING else f"{one.name}=_default_{one.name}"


def _assignment(one: Field[Any], known: dict[str, Any]) -> Iterator[str]:
    """The lines that set a field. What they refer to is added to `known`."""
    name = one.name
    known[f"_default_{name}"], known[f"_make_{name}"] = one.default, one.default_factory
    if one.default_factory is not MISSING:
        yield f"{f'if {name} is _unset: ' if one.init else ''}{name} = _make_{name}()"
    elif not one.init:
        if one.default is MISSING:
            return  # left to __post_init__
        yield f"{name} = _default_{name}"
    yield f"_set(self, {name!r}, {name})"


def _comparison(cls: Any) -> dict[str, Any]:
    """`__eq__` and `__hash__` by the fields that are compared; equal values are of the same class."""
    names = [one.name for one in fields(cls) if one.compare]
    compared: Callable[[object], object] = attrgetter(*names) if names else lambda _value: ()

    def equal(self: object, other: object) -> bool:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: object) -> int:
        return hash(compared(self))

    return {"__eq__": equal, "__hash__": hashed}


@recursive_repr()
def _repr(self: Any) -> str:
    shown = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__qualname__}({shown})"


def _refuse(self: object, name: str, *_value: object) -> None:
    raise FrozenInstanceError(f"cannot change field {name!r} of {type(self).__qualname__}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for one, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)
