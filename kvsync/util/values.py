"""Dataclasses that cost a tenth to define.

`dataclasses.dataclass` compiles six methods for every class, in half a millisecond: a tenth of a second for the two hundred
classes that a command imports, and it makes values of half of them. Here classes share their methods, and what differs is made
when it is first used: the fields when they are listed, `__init__` once a class has many values. For type checkers, and for
`fields`, `replace` and `asdict`, this is the decorator of the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from dataclasses import dataclass as _dataclass
from functools import cache, partial
from operator import attrgetter, ge, gt, le, lt
from reprlib import recursive_repr
from types import CodeType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, cast


class _Factory:
    """Default of an argument whose value is made by a factory, for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_UNSET: Final = _Factory()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, order: bool = False, **others: Any
    ) -> Callable[[type], type]:
        """Make a dataclass. One that is neither frozen nor has slots, or has other options, is made by the standard library."""
        if others or not (frozen or slots):
            return _dataclass(frozen=frozen, slots=slots, order=order, **others)
        return partial(_made, methods=_methods(frozen=frozen, slots=slots, order=order), slots=slots)


def _methods(*, frozen: bool, slots: bool, order: bool) -> dict[str, Any]:
    """The methods of such a class by name, with functions that make them in place of those that are made later."""
    wanted: dict[str, Any] = {"__repr__": _repr, **_MADE_LATER}
    wanted |= _FROZEN if frozen else {"__hash__": None}
    wanted |= _PICKLED if frozen and slots else {}
    return wanted | (_ORDER if order else {})


def _made(cls: type, methods: dict[str, Any], *, slots: bool) -> Any:
    body = {name: member for name, member in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    own = [name for name, kind in body.get("__annotations__", {}).items() if not _is_class_variable(kind)]
    described = {name: body.pop(name, MISSING) for name in own}
    if slots:
        known = {name for base in cls.__mro__ for name in vars(base).get("__slots__", ())}
        body["__slots__"] = tuple(name for name in own if name not in known)
    for name, method in methods.items():
        if body.get(name) is None:
            body[name] = _later(name, method) if name in _MADE_LATER or name in _ORDER else method
    body["__dataclass_fields__"] = _MadeLater(partial(_fields, described))
    body["__described__"] = _inherited(cls) | described
    made: Any = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _is_class_variable(kind: object) -> bool:
    return str(kind).startswith(("ClassVar", "typing.ClassVar"))


class _MadeLater:
    """Attribute of a class, made when it is first asked for, and replaced by what was made."""

    __slots__ = ("_cls", "_make", "_name")

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __set_name__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name

    def __get__(self, value: object, owner: type) -> Any:
        made = self._make(self._cls)
        setattr(self._cls, self._name, made)
        return made.__get__(value, owner) if isinstance(made, FunctionType) else made


_FEW: Final = 50
"""The number of values of a class that are made without compiling its `__init__`. Compiling it takes as long as making a
hundred values without it."""


class _InitMadeLater(_MadeLater):
    """`__init__` of a class: it is compiled if it is asked for without a value, or once there are more than a few values."""

    __slots__ = ("_arguments", "_left")

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__(make)
        self._left = _FEW
        self._arguments: _Arguments | None = None

    def __get__(self, value: object, owner: type) -> Any:
        if value is None or self._left <= 0:  # other threads count too
            return super().__get__(value, owner)
        self._left -= 1
        if self._arguments is None:
            self._arguments = _Arguments(self._cls)
        return partial(self._initialize, self._arguments, value)

    def _initialize(self, known: _Arguments, value: Any, /, *given: object, **named: object) -> None:
        fields = known.fields(given, named)
        if fields is None:
            self._make(self._cls)(value, *given, **named)  # what does not fit is refused in the words of Python
            return
        for name, one in fields.items():
            object.__setattr__(value, name, one)
        if known.has_post_init:
            value.__post_init__()


class _Arguments:
    """What `__init__` of a class takes: it sets the fields of the first values."""

    def __init__(self, cls: Any) -> None:
        described = cls.__described__
        self.has_post_init = hasattr(cls, "__post_init__")
        self._names = _match_args(cls)
        self._defaults = {name: _default(one) for name, one in described.items() if _default(one) is not MISSING}
        self._factories = {name: _factory(one) for name, one in described.items() if _factory(one) is not MISSING}
        optional = [name in self._defaults or name in self._factories for name in self._names]
        is_usual = optional == sorted(optional) and {*self._defaults, *self._factories} <= {*self._names}
        self._expected = frozenset(self._names) if is_usual else None

    def fields(self, given: tuple[object, ...], named: dict[str, object]) -> dict[str, object] | None:
        """The fields of a value by name; None if the arguments do not fit, or the fields are unusual."""
        values = {**self._defaults, **dict(zip(self._names, given, strict=False)), **named}
        for name, make in self._factories.items():
            if name not in values:
                values[name] = make()
        is_clear = len(given) <= len(self._names) and named.keys().isdisjoint(self._names[: len(given)])
        return values if is_clear and values.keys() == self._expected else None


def _later(name: str, make: Callable[[Any], Any]) -> _MadeLater:
    return _InitMadeLater(make) if name == "__init__" else _MadeLater(make)


def _inherited(cls: type) -> dict[str, Any]:
    """What describes the fields of the bases: each name with a default, a `field(...)`, or nothing."""
    described: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:]):
        known = vars(base)
        described |= known["__described__"] if "__described__" in known else known.get("__dataclass_fields__", {})
    return described


def _fields(described: dict[str, Any], cls: Any) -> dict[str, Field[Any]]:
    """The fields of a class and of its bases, by name, made by the standard library."""
    kinds = vars(cls).get("__annotations__", {})
    like = {name: vars(cls).get(name) for name in ("__module__", "__doc__")}
    like |= {"__annotations__": dict.fromkeys(described, object)}  # a text would be searched for `ClassVar`
    like |= {name: default for name, default in described.items() if default is not MISSING}
    made: Any = _dataclass(init=False, repr=False, eq=False, match_args=False)(type(cls.__name__, (), like))
    for one in made.__dataclass_fields__.values():
        one.type = kinds[one.name]
    cls.__dataclass_params__ = made.__dataclass_params__
    inherited: dict[str, Field[Any]] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited |= getattr(base, "__dataclass_fields__", {})
    return inherited | cast(dict[str, Field[Any]], made.__dataclass_fields__)


def _init(cls: Any) -> FunctionType:
    init = _shared_init(cls) or _compiled_init(cls)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    kinds: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        kinds |= vars(base).get("__annotations__", {})
    init.__annotations__ = {name: kinds[name] for name in _match_args(cls)} | {"return": None}
    return init


def _shared_init(cls: Any) -> FunctionType | None:
    """`__init__` with the code that classes with as many fields share, under other names; None for a class whose fields are not
    just its arguments."""
    described = cls.__described__
    defaults = tuple(one for one in map(_default, described.values()) if one is not MISSING)
    last = [_default(one) for one in described.values()][len(described) - len(defaults) :]
    if not all(_is_argument(one) and _factory(one) is MISSING for one in described.values()) or MISSING in last:
        return None
    code = _code(len(described), hasattr(cls, "__post_init__")).replace(co_varnames=("self", *described))
    known = {f"_set_{number}": _setter(cls, name) for number, name in enumerate(described)}
    return FunctionType(code, known, "__init__", defaults)


@cache
def _code(count: int, has_post_init: bool) -> CodeType:
    """Code of an `__init__` that sets so many fields."""
    lines = [f"_set_{number}(self, _{number})" for number in range(count)]
    return _defined([f"_{number}" for number in range(count)], lines, {}, has_post_init).__code__


def _compiled_init(cls: Any) -> FunctionType:
    described = cls.__described__.items()
    known: dict[str, Any] = {"_unset": _UNSET} | {f"_set_{name}": _setter(cls, name) for name, _ in described}
    lines = [line for name, one in described for line in _assignment(name, one, known)]
    arguments = [_argument(name, one) for name, one in described if _is_argument(one)]
    return _defined(arguments, lines, known, hasattr(cls, "__post_init__"))


def _defined(arguments: list[str], lines: list[str], known: dict[str, Any], has_post_init: bool) -> FunctionType:
    if has_post_init:
        lines = [*lines, "self.__post_init__()"]
    source = f"def __init__({', '.join(['self', *arguments])}):\n  " + "\n  ".join(lines or ["pass"])
    exec(source, known)  # noqa: S102 - made of the names of fields only  # nosec B102
    init: FunctionType = known["__init__"]
    return init


def _is_argument(one: Any) -> bool:
    return not isinstance(one, Field) or one.init


def _default(one: Any) -> Any:
    """The default of a field, or MISSING."""
    return one.default if isinstance(one, Field) else one


def _factory(one: Any) -> Any:
    """What makes the default of a field, or MISSING."""
    return one.default_factory if isinstance(one, Field) else MISSING


def _argument(name: str, one: Any) -> str:
    if _factory(one) is not MISSING:
        return f"{name}=_unset"
    return name if _default(one) is MISSING else f"{name}=_default_{name}"


def _assignment(name: str, one: Any, known: dict[str, Any]) -> Iterator[str]:
    """The lines that set a field. What they refer to is added to `known`."""
    known[f"_default_{name}"], known[f"_make_{name}"] = _default(one), _factory(one)
    if _factory(one) is not MISSING:
        yield f"{f'if {name} is _unset: ' if _is_argument(one) else ''}{name} = _make_{name}()"
    elif not _is_argument(one):
        if _default(one) is MISSING:
            return  # left to __post_init__
        yield f"{name} = _default_{name}"
    yield f"_set_{name}(self, {name})"


def _setter(cls: Any, name: str) -> Callable[[object, object], None]:
    """Sets one field of a new value, straight in its slot if it has one: that takes two thirds of the time of
    `object.__setattr__`."""
    slot = getattr(cls, name, None)
    if isinstance(slot, MemberDescriptorType):
        setter: Callable[[object, object], None] = slot.__set__
        return setter
    return lambda self, value: object.__setattr__(self, name, value)


def _match_args(cls: Any) -> tuple[str, ...]:
    return tuple(name for name, one in cls.__described__.items() if _is_argument(one))


def _equal(cls: Any) -> FunctionType:
    """`__eq__` by the fields that are compared; equal values are of the same class."""
    compared = _compared(cls)

    def __eq__(self: object, other: object) -> bool:  # noqa: N807  # the method of a class
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    return cast(FunctionType, __eq__)


def _hashed(cls: Any) -> FunctionType:
    compared = _compared(cls)

    def __hash__(self: object) -> int:  # noqa: N807  # the method of a class
        return hash(compared(self))

    return cast(FunctionType, __hash__)


def _ordered(compare: Callable[[Any, Any], bool], cls: Any) -> FunctionType:
    """A method that compares values of one class by the fields that are compared, in their order."""
    compared = _compared(cls)

    def ordered(self: object, other: object) -> bool:
        return compare(compared(self), compared(other)) if other.__class__ is self.__class__ else NotImplemented

    return cast(FunctionType, ordered)


def _compared(cls: Any) -> Callable[[object], object]:
    names = [name for name, one in cls.__described__.items() if not isinstance(one, Field) or one.compare]
    return attrgetter(*names) if names else lambda _value: ()


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


_FROZEN: Final = {"__setattr__": _refuse, "__delattr__": _refuse}
_PICKLED: Final = {"__getstate__": _state, "__setstate__": _restore}
_MADE_LATER: Final[dict[str, Callable[[Any], Any]]] = {
    "__init__": _init,
    "__eq__": _equal,
    "__hash__": _hashed,
    "__match_args__": _match_args,
}
_ORDER: Final[dict[str, Callable[[Any], Any]]] = {
    f"__{compare.__name__}__": partial(_ordered, compare) for compare in (lt, le, gt, ge)
}
