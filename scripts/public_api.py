"""Describe the public API: as the text that a test compares with tests/recorded/api.txt, and as the parts of docs/api.md.

After a deliberate change of the API: python scripts/public_api.py, and add a line to CHANGELOG.md.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, Final, ForwardRef

import kvsync
import kvsync.testing
from kvsync.testing.conformance import Suite

RECORDED: Final = Path(__file__).resolve().parent.parent / "tests/recorded/api.txt"

GROUPS: Final = {
    "store": "Store StoreContext StoreConfig Credential Capabilities Lifetimes Marks SizeUnit Traffic DoctorCheck",
    "extensions": (
        "PlaceResolving TokenChecking DeepObservable Scannable LedgerKeeping VersionHints NestedNamespaces QuotaReporting"
        " NamespaceIds NamespaceDeleting NamespaceRenaming RestorePointMaking FilteredListing KeyListing Watchable"
    ),
    "values": "Target Identity Content Entry Mode Mark Actual Snapshot snapshot_of fingerprint",
    "writes": "Write Precondition WriteResult WriteStatus check_batch check_entry",
    "places": "Place KeyScope KeyFormat origin_of MarkSigner seal_to_text seal_from_text Clock Fence",
    "errors": (
        "KvsyncError ErrorCode InvalidInput Problem Origin UsageError LockHeld StateDirError SourceError StoreError"
        " TransientError LostAnswer NotLeader BatchRefused AuthError PermanentError"
    ),
    "options": "Field fields",
    "workspace": (
        "open_workspace Workspace TargetSelection PassOptions resolve_targets Plan TargetPlan Change Action Class Refusal"
        " Cost Stats Report TargetReport Outcome OutcomeKind"
    ),
    "testing": "StoreConformance StoreHarness MemoryServer memory_store FakeClock",
}
"""The parts of docs/api.md and the names in each."""

ONLY: Final = {
    "Workspace": "aclose apply failure fetch load plan released",
    "MemoryServer": (
        "before_change contents count delete fail fail_entry heal list_incompletely list_late lock lose_answers misread"
        " refuse_batches_with throttle write"
    ),
}
"""Classes of which only these members are public; `Workspace` is made by `open_workspace` alone."""

INTERNAL: Final = frozenset({"failed", "overridden", "step"})
"""Class attributes that are set automatically, or by kvsync alone."""

DECODERS: Final = "text boolean choice integer number percentage duration size path credential list_of map_of one_of"
"""The functions of `kvsync.fields` that are public."""


def find(name: str) -> Any:
    """The object behind a public name."""
    return getattr(kvsync if name in kvsync.__all__ else kvsync.testing, name)


def surface() -> str:
    """All public names with their signatures, one a line."""
    lines: list[str] = []
    for module in (kvsync, kvsync.testing):
        for name in sorted(module.__all__):
            lines.extend(_described(f"{module.__name__}.{name}", getattr(module, name)))
    return "\n".join(lines) + "\n"


def part(group: str) -> str:
    """One part of docs/api.md."""
    return "\n\n".join(_section(name, find(name)) for name in GROUPS[group].split())


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that kvsync defines in a class or its bases."""
    found: dict[str, Any] = {}
    for base in reversed(_documented(cls).__mro__):
        if base.__module__.startswith("kvsync"):
            found |= vars(base)
    public = ONLY[cls.__name__].split() if cls.__name__ in ONLY else found
    for name, value in sorted(found.items()):
        if name in public and not name.startswith(("_", "test_")) and _is_method(value):
            yield name, value


def attributes(cls: type) -> Iterator[tuple[str, str, str]]:
    """The public class attributes that kvsync annotates: name, type, and the docstring below it. Fields of a dataclass that are
    parameters of its constructor are left out, and what all errors have is described at their base."""
    if is_dataclass(cls):
        computed = {one.name for one in fields(cls) if not one.init}
        yield from (found for found in _annotated(cls) if found[0] in computed)
        return
    if issubclass(cls, Enum | tuple):
        return
    for base in (cls,) if issubclass(cls, Exception) else reversed(_documented(cls).__mro__):
        if base.__module__.startswith("kvsync"):
            yield from _annotated(base)


def _annotated(cls: type) -> Iterator[tuple[str, str, str]]:
    (definition,) = ast.parse(dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    for node, after in pairwise([*definition.body, ast.Pass()]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_public(node.target.id):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            yield node.target.id, ast.unparse(node.annotation), " ".join(str(text).split())


def _is_public(attribute: str) -> bool:
    return not attribute.startswith("_") and attribute not in INTERNAL


def _documented(cls: type) -> type:
    """The class whose members are shown: of the conformance suite not the tests, but what an author overrides."""
    return Suite if cls is kvsync.testing.StoreConformance else cls


def _is_method(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)


def _described(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, ModuleType):
        for decoder in sorted(DECODERS.split()):
            yield f"{name}.{decoder}{_signature(getattr(value, decoder))}"
    elif isinstance(value, type) and issubclass(value, Enum):
        yield f"{name}: {' | '.join(member.name for member in value)}"
    elif isinstance(value, type):
        bases = [base.__name__ for base in value.__bases__ if base.__name__ in kvsync.__all__]
        yield f"{name}{_constructor(value)}{' <- ' + ', '.join(bases) if bases else ''}"
        yield from sorted(f"{name}.{attribute}: {kind}" for attribute, kind, _ in attributes(value))
        for member, found in members(value):
            yield f"{_async(found)}{name}.{member}{': property' if isinstance(found, property) else _signature(found)}"
    elif callable(value):
        yield f"{name}{_signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def _section(name: str, value: Any) -> str:
    if isinstance(value, ModuleType):
        shown = [_entry(f"fields.{one}", getattr(value, one)) for one in DECODERS.split()]
        return (
            f"### `{name}`\n\nThe decoders of a `Field`: each defines how an option is read, and what it becomes.\n\n"
            + "\n".join(shown)
        )
    if isinstance(value, type) and issubclass(value, Enum):
        words = ", ".join(f"`{member.name}`" for member in value)
        return f"### `{name}`\n\n{_prose(value)}\n\nMembers: {words}."
    head = _constructor(value) if isinstance(value, type) else _signature(value)
    section = f"### `{name}`\n\n```python\n{_wrapped(name + head)}\n```\n\n{_prose(value)}"
    if not isinstance(value, type):
        return section
    rows = [f"- `{name}: {kind}`{f': {text}' if text else ''}" for name, kind, text in attributes(value)]
    rows += [_entry(member, found) for member, found in members(value)]
    return section + ("\n\n" + "\n".join(rows) if rows else "")


def _entry(name: str, value: Any) -> str:
    head = "" if isinstance(value, property) else _signature(value)
    first = _prose(value).partition("\n\n")[0].replace("\n", " ")
    return f"- `{_async(value)}{name}{head}`: {first}"


def _async(value: Any) -> str:
    return "async " if inspect.iscoroutinefunction(value) else ""


def _prose(value: Any) -> str:
    return inspect.cleandoc(value.__doc__ or "")


def _wrapped(head: str, width: int = 110) -> str:
    """A signature on one line, or with one parameter a line."""
    if len(head) <= width:
        return head
    start, _, rest = head.partition("(")
    inner, _, result = rest.rpartition(")")
    parameters = re.split(r", (?=\*|\w+(?::|=|$|,))", inner)
    return "\n".join([f"{start}(", *(f"    {parameter}," for parameter in parameters), f"){result}"])


def _constructor(cls: type) -> str:
    if cls.__name__ == "Workspace" or _is_protocol(cls):
        return ""
    if "__new__" not in vars(cls) and not _own_init(cls):
        return ""
    return _signature(cls, drop_result=True)


def _is_protocol(cls: type) -> bool:
    """True for an interface, which nobody constructs."""
    return bool(getattr(cls, "_is_protocol", False))


def _own_init(cls: type) -> bool:
    return any("__init__" in vars(base) for base in cls.__mro__ if base.__module__.startswith("kvsync"))


def _signature(value: Any, *, drop_result: bool = False) -> str:
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    signature = inspect.signature(function)
    parameters = [_plain(one) for name, one in signature.parameters.items() if name not in ("self", "cls")]
    result = inspect.Signature.empty if drop_result else _annotation(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=result))


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(annotation=_annotation(parameter.annotation), default=_default(parameter.default))


class _Text:
    """Shown as it is, without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _annotation(found: Any) -> Any:
    if found is inspect.Parameter.empty:
        return found
    text = found.__forward_arg__ if isinstance(found, ForwardRef) else found
    return _Text(text if isinstance(text, str) else getattr(text, "__name__", str(text)))


def _default(found: Any) -> Any:
    if found is inspect.Parameter.empty or isinstance(found, bool | int | float | str | bytes | type(None)):
        return _Text(f"{type(found).__name__}.{found.name}") if isinstance(found, Enum) else found
    if isinstance(found, tuple) and not found:
        return found
    return _Text("...")


def groups_of(names: Iterable[str]) -> dict[str, int]:
    """How many parts of docs/api.md each name is in."""
    listed = [name for group in GROUPS.values() for name in group.split()]
    return {name: listed.count(name) for name in names}


if __name__ == "__main__":
    RECORDED.write_text(surface(), encoding="utf-8")
    sys.stdout.write(f"{RECORDED.name}\n")
