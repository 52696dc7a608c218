"""Writes the configuration that `kvsync import` needs, and lists the remaining steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvsync.errors import UsageError

_HEAD: Final = """\
version: 1
owner: {owner}    # kvsync marks every entry it writes with this id, and deletes only marked entries

state: ["state/**/*.yaml"]    # the files that describe the entries

stores:
{store}
policy:
  prune: owned        # delete entries that are no longer in the files, if kvsync wrote them
  adopt: if-equal     # take ownership of existing entries that match the files; leave others unchanged
  drift: heal         # restore entries that were changed by hand
"""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_REFERENCE: Final = re.compile(r"(env|file|credential):(.+)|\{\s*(env|file|credential)\s*:\s*(.+?)\s*\}", re.DOTALL)
_STORES: Final = re.compile(r"^stores:[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store that is to be added to the configuration. `settings` are NAME=VALUE, as on the command line; a value such as
    env:NAME, or {env: NAME} as in the file, is a reference to a secret."""

    name: str
    type: str
    settings: Sequence[str] = ()
    key_format: str | None = None

    def lines(self) -> str:
        """Its lines in `stores`. Raises UsageError for a setting that is none."""
        fields = {"type": self.type, **dict(map(_setting, self.settings))}
        if self.key_format is not None:
            fields["key_format"] = _scalar(self.key_format)
        return "".join([f"  {self.name}:\n", *(f"    {name}: {value}\n" for name, value in fields.items())])


def with_store(text: str | None, store: NewStore, owner: str) -> str:
    """The text of a configuration with one more store; of a new one where there is none yet. Raises UsageError where it is not
    certain where to add it."""
    if text is None:
        return _HEAD.format(owner=owner, store=store.lines())
    found = _STORES.search(text)
    if found is None:
        raise UsageError(
            f"kvsync.yaml has no stores block that kvsync can extend; add these lines there:\n{store.lines()}"
        )
    end = found.end() + 1
    return f"{text[:end]}{store.lines()}{text[end:]}"


def owner_from(folder: str) -> str:
    """An owner id from the name of a folder."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in folder)
    return name.strip("-.")[:64] or "my-configuration"


def _setting(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        raise UsageError(f"--set {written}: expected NAME=VALUE, such as token=env:CLOUDFLARE_API_TOKEN")
    reference = _REFERENCE.fullmatch(value)
    if reference is None:
        return name, _scalar(value)
    kind, meant = (part for part in reference.groups() if part is not None)
    return name, f"{{{kind}: {_scalar(meant)}}}"


def _scalar(text: str) -> str:
    """The text as YAML reads it back: plain where it is a word or a number, else in quotes."""
    return text if re.fullmatch(r"[A-Za-z0-9_.-]+", text) else json.dumps(text)


def left_to_do(counts: Mapping[str, int]) -> Iterator[str]:
    """What the plan after the import still says, as words with numbers."""
    yield from (f"{number:,} {word}" for word, number in counts.items() if number)
