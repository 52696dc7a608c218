"""Attributes that are computed when they are first asked for, without a lock.

`functools.cached_property` of Python 3.11 holds one lock for all instances of a class: while a thread computes the attribute of
a large one, the event loop would wait to read that of a small one. Here two threads may compute the same value twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

_Value = TypeVar("_Value")


class lazy(Generic[_Value]):  # noqa: N801  # a decorator, as property
    """Decorator of a method whose result becomes an attribute of the instance, which needs a `__dict__`."""

    def __init__(self, compute: Callable[[Any], _Value]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> _Value: ...

    def __get__(self, instance: object, owner: type) -> Self | _Value:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
