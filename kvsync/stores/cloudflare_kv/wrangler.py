"""Reads the ids of namespaces from the configuration of wrangler, `wrangler.toml` or `wrangler.jsonc`.

A namespace is called by its binding there. Messages repeat nothing of the file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_STRING: Final = r'"(?:[^"\\\n]|\\.)*"?'
_COMMENT: Final = re.compile(rf"{_STRING}|//[^\n]*|/\*(?:.*?\*/|.*)", re.DOTALL)
_LAST_COMMA: Final = re.compile(rf"{_STRING}|,(?=\s*[\]}}])", re.DOTALL)
"""Each matches strings too, so that it finds nothing in them. What is not closed matches to its end, in linear time."""

_POSITION: Final = re.compile(r"\(at line (\d+)")


def namespace_ids(text: bytes, name: str, environment: str | None) -> dict[str, str]:
    """The ids of the KV namespaces by their bindings, of an environment of wrangler or, with None, of the top level. `name` is
    that of the file. A binding without an id is left out. Raises ValueError, with what is wrong."""
    try:
        document = _toml(text.decode()) if name.endswith(".toml") else _json(text.decode())
    except (UnicodeDecodeError, RecursionError):
        raise ValueError("is not a configuration of wrangler") from None
    section = document if environment is None else _member(_member(document, "env"), environment)
    if not isinstance(section, Mapping):
        where = "at its top level" if environment is None else f'in the environment "{environment}"'
        raise ValueError(f"has no settings {where}")
    found: dict[str, str] = {}
    listed = section.get("kv_namespaces", [])
    for number, item in enumerate(listed if isinstance(listed, list) else [None]):
        binding, id_ = _member(item, "binding"), _member(item, "id")
        if not isinstance(binding, str) or not binding or not (id_ is None or _is_id(id_)):
            raise ValueError(f"kv_namespaces[{number}] is not a binding with an id of 32 hexadecimal digits")
        if binding in found:
            raise ValueError(f"kv_namespaces[{number}] has the binding of an earlier one")
        if id_ is not None:
            found[binding] = id_
    return found


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        raise ValueError("is not valid TOML" + (f" (line {position[1]})" if position else "")) from None


def _json(text: str) -> Any:
    """Parse JSON with comments. What they leave behind has as many lines."""
    try:
        return json.loads(_LAST_COMMA.sub(_kept, _COMMENT.sub(_kept, text)))
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON (line {error.lineno})") from None


def _kept(found: re.Match[str]) -> str:
    """A string as it is, of anything else the line ends."""
    return found[0] if found[0].startswith('"') else "\n" * found[0].count("\n")


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None
