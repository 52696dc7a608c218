"""Settings by which VS Code and JetBrains editors check `kvsync.yaml`, its overlays and the state files as they are written.

The schemas are files next to the configuration, so that editors need no network and a team shares them through Git.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET  # nosec B405  # for a file of the person who runs the command
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from kvsync.app.editing import Edit
from kvsync.app.json_schema import SCHEMAS
from kvsync.config.layers import overlay_paths
from kvsync.config.model import Config
from kvsync.errors import KvsyncError
from kvsync.util.escaping import encode_json

FOLDER: Final = ".kvsync-schemas"
_VS_CODE: Final = ".vscode/settings.json"
_MEMBER: Final = "yaml.schemas"
_BETWEEN: Final = re.compile(r"[\s,:]*")
"""What stands between the names and the values of JSON."""

_JETBRAINS: Final = ".idea/jsonSchemas.xml"
_MOST_BYTES: Final = 1024 * 1024
_NAMES: Final = {"config": "kvsync configuration", "overlay": "kvsync overlays", "state": "kvsync state files"}

Associations = Mapping[str, tuple[str, ...]]
"""The patterns of the files that each schema, by its name, is for."""


class EditorSettings(NamedTuple):
    """The files to write, and why others stay as they are."""

    edits: list[Edit]
    left: list[str]


def editor_settings(config: Config) -> EditorSettings:
    """What has to be written so that editors know the files of a configuration. Settings of others stay. Raises KvsyncError for
    files that cannot be read."""
    associations = _associations(config)
    changes: list[tuple[str, Callable[[str], str]]] = [
        *((f"{FOLDER}/{which}.json", _schema(which)) for which in associations),
        (_VS_CODE, lambda text: _vs_code(text, associations)),
        (_JETBRAINS, lambda text: _jetbrains(text, associations)),
    ]
    result = EditorSettings([], [])
    for name, change in changes:
        path = config.root / name
        before = _read(path, name)
        try:
            after = change(before)
        except _UneditableError as error:
            result.left.append(f"{name}: {error}")
            continue
        if before != after:
            result.edits.append(Edit(name, path.resolve(), before, after, sensitive=None))
    return result


class _UneditableError(Exception):
    """A file of settings that cannot be changed without a loss."""


def _associations(config: Config) -> Associations:
    overlays = tuple(
        path.name for environment in config.environments for path in overlay_paths(config.file, environment)
    )
    found = {"config": (config.file.name,), "overlay": overlays, "state": config.state}
    return {which: patterns for which, patterns in found.items() if patterns}


def _read(path: Path, name: str) -> str:
    """The text of a file, empty when there is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise KvsyncError(f"{name}: it has more than 1 MiB; kvsync does not change it")
        return data.decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise KvsyncError(f"{name}: cannot read it: {error}") from None


def _schema(which: str) -> Callable[[str], str]:
    return lambda _text: encode_json(SCHEMAS[which](), indent=2) + "\n"


def _vs_code(text: str, associations: Associations) -> str:
    """`settings.json` with our members in `yaml.schemas`."""
    ours = {f"{FOLDER}/{which}.json": list(patterns) for which, patterns in associations.items()}
    settings: Any = {}
    try:
        settings = json.loads(text) if text.strip() else {}
        known = settings.get(_MEMBER, {})
        merged = dict(known) | ours
    except (ValueError, TypeError, AttributeError, RecursionError):
        wanted = json.dumps({_MEMBER: ours})
        raise _UneditableError(
            f"comments in it would be lost, or it is not a JSON object; add {wanted} to it"
        ) from None
    return text if dict(known) == merged else _with_member(text.rstrip() or "{\n}", _MEMBER, merged)


def _with_member(text: str, name: str, value: Any) -> str:
    """The text of a JSON object with another value for one of its members, or with one more. All else stays."""
    indented, ending = re.search(r"\n([ \t]+)", text), "\r\n" if "\r\n" in text else "\n"
    unit = indented[1] if indented else "  "
    written = json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", ending + unit)
    spans = dict(_members(text))
    if name in spans:
        start, end = spans[name]
        return f"{text[:start]}{written}{text[end:]}{ending}"
    end = max((end for _, end in spans.values()), default=text.index("{") + 1)
    comma = "," if spans else ""
    return f"{text[:end]}{comma}{ending}{unit}{json.dumps(name)}: {written}{ending}{text[end:].lstrip()}{ending}"


def _members(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The members of a JSON object: the name, and where the value starts and ends."""
    decode = json.JSONDecoder().raw_decode
    at = _after(text, text.index("{") + 1)
    while text.startswith('"', at):
        name, end = decode(text, at)
        start = _after(text, end)
        _, end = decode(text, start)
        yield name, (start, end)
        at = _after(text, end)


def _after(text: str, at: int) -> int:
    """Where the next name or value begins."""
    between = _BETWEEN.match(text, at)
    return at if between is None else between.end()


def _jetbrains(text: str, associations: Associations) -> str:
    """`jsonSchemas.xml` with our entries in its map."""
    try:
        project = ET.fromstring(text) if text.strip() else ET.Element("project", version="4")  # noqa: S314  # a file of the user  # nosec B314
    except ET.ParseError as error:
        raise _UneditableError(f"it is not XML ({error}); fix or delete it") from None
    if "<!--" in text or project.tag != "project":
        raise _UneditableError(
            "comments in it would be lost, or it is not a project file; map the schemas in the settings"
        )
    component = _child(project, "component", name="JsonSchemaMappingsProjectConfiguration")
    entries = _child(_child(component, "state"), "map")
    for which, patterns in associations.items():
        for former in [one for one in entries if one.get("key") == _NAMES[which]]:
            entries.remove(former)
        entries.append(_entry(which, patterns))
    ET.indent(project)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(project, encoding="unicode")}\n'


def _child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    """The child with this tag and these attributes, made where there is none."""
    for child in parent.iter(tag):
        if all(child.get(name) == value for name, value in attributes.items()):
            return child
    return ET.SubElement(parent, tag, attributes)


def _entry(which: str, patterns: tuple[str, ...]) -> ET.Element:
    entry = ET.Element("entry", key=_NAMES[which])
    info = ET.SubElement(ET.SubElement(entry, "value"), "SchemaInfo")
    for name, value in (("name", _NAMES[which]), ("relativePathToSchema", f"{FOLDER}/{which}.json")):
        ET.SubElement(info, "option", name=name, value=value)
    items = ET.SubElement(ET.SubElement(info, "option", name="patterns"), "list")
    for pattern in patterns:
        item = ET.SubElement(items, "Item")
        for name, value in _item(pattern):
            ET.SubElement(item, "option", name=name, value=value)
    return entry


def _item(pattern: str) -> Iterator[tuple[str, str]]:
    is_pattern = any(sign in pattern for sign in "*?[{")
    if is_pattern:
        yield "pattern", "true"
    yield "path", pattern
    if is_pattern:
        yield "mappingKind", "Pattern"
