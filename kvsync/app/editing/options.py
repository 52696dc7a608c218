"""Converts tags and metadata from the command line to fields of a state file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvsync.app.dump.yaml_text import flow
from kvsync.errors import UsageError
from kvsync.model.exact_json import read_json


def given_tags(texts: Sequence[str], gone: Sequence[str]) -> Mapping[str, str | None]:
    """The tags to set, from `NAME=TEXT`, and with None those to remove. Raises UsageError."""
    given: dict[str, str | None] = {}
    for written in texts:
        name, equals, text = written.partition("=")
        if not name or not equals:
            raise UsageError(f"--tag {written}: expected NAME=TEXT")
        given[name] = text
    for name in gone:
        if name in given:
            raise UsageError(f"--remove-tag {name}: --tag sets the same tag; remove one of them")
        given[name] = None
    return given


def given_metadata(text: str | None) -> Mapping[str, str | None]:
    """The field to set for metadata, as YAML; nothing if none were given. Raises UsageError."""
    if text is None:
        return {}
    try:
        return {"metadata": flow(read_json(text))}
    except (ValueError, RecursionError):
        raise UsageError("--metadata: the text is not JSON") from None
