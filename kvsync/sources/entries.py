"""From the nodes under `keys:` and `files:` to rows."""

from __future__ import annotations

from typing import Any, Final

from kvsync.core.canonical import is_json_type
from kvsync.core.model import Mode
from kvsync.document.fields import INVALID, Decoder, Problems
from kvsync.document.nodes import Mapping, Node, Scalar, Sequence
from kvsync.document.problems import at, name_hint, quoted
from kvsync.sources.rows import Rows, Shape
from kvsync.sources.tables import LABELLED_FIELDS, VALUE_FORMS, Options, Placed, merged, packed
from kvsync.sources.tree import UnreadableError
from kvsync.sources.values import Surroundings, Value, is_absolute, read_value

_FORMS: Final = frozenset(VALUE_FORMS)
_OPTIONS: Final[dict[str, Decoder]] = {
    field.name: field.decoder for field in LABELLED_FIELDS if field.name not in _FORMS
}
_ENTRY_NAMES: Final = (*VALUE_FORMS, *_OPTIONS, "labels", "remove")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NULL_HINT: Final = 'write "" for the empty text'


class EntryReader:
    """Reads the entries of one file of a document into `rows`. `defaults` hold for all, packed."""

    def __init__(self, rows: Rows, defaults: Options, around: Surroundings, problems: Problems) -> None:
        self._rows, self._defaults, self._around, self._problems = rows, defaults, around, problems
        self.secrets: list[str] = []
        self._plain = self._number(defaults, Value(b""))

    def read(self, items: dict[str, tuple[Scalar, Node]], skip: frozenset[str] = frozenset()) -> None:
        """Read all entries but those in `skip`."""
        # The hot loop: most entries are plain text without options of their own.
        rows, number = self._rows, self._plain
        sensitive = rows.table[number].sensitive
        for name, (key, node) in items.items():
            if name in skip:
                continue
            if node.__class__ is Scalar and not sensitive:
                assert isinstance(node, Scalar)
                if node.plain and node.text in _NULLS:
                    self._problems.add(at(f"keys.{name}", "a value must not be null"), node, _NULL_HINT)
                else:
                    rows.add(name, None, node.text.encode(), number, key.line, key.column)
            else:
                self._read_entry(key, node)

    def read_files(self, item: Placed, what: str) -> None:
        """Read a `files:` item: one entry for each file."""
        written, node = item
        options = {name: value for name, value in written.items() if name in _OPTIONS}
        path = written.get("path")
        if path is None or is_absolute(path, node, self._problems, what):
            return
        try:
            found = self._around.files(path, written["glob"])
        except UnreadableError as error:
            self._problems.add(at(what, f"{quoted(path)}: {error}"), node)
            return
        if not found:
            self._problems.add(at(what, f"no file under {quoted(path)} matches {quoted(written['glob'])}"), node)
        own = packed(options)
        self._check_lifetime(own, merged(self._defaults, own), node, what)
        for name, data in found:
            if name.isprintable() or name.encode(errors="ignore").decode() == name:
                self._add(written["prefix"] + name, None, Value(data), merged(self._defaults, own), node)
            else:
                self._problems.add(at(what, f"the name of the file {quoted(name)} is not UTF-8"), node)

    def _read_entry(self, key: Scalar, node: Node) -> None:
        what = f"keys.{key.text}"
        if isinstance(node, Scalar):
            if node.is_null:
                self._problems.add(at(what, "a value must not be null"), node, _NULL_HINT)
            else:
                self._add(key.text, None, Value(node.text.encode()), self._defaults, key)
            return
        if not isinstance(node, Mapping):
            hint = "write {json: […]} to store a list"
            self._problems.add(at(what, "expected a value, found a list"), node, hint)
            return
        self._read_mapping(key, node, what)

    def _read_mapping(self, key: Scalar, node: Mapping, what: str) -> None:
        if "remove" in node.items:
            hint = "an overlay such as web.prod.yaml can remove; here, leave the entry out"
            self._problems.add(at(what, "remove belongs into overlays"), node.items["remove"][0], hint)
            return
        if node.items and not any(name in _ENTRY_NAMES for name in node.items):
            hint = f"write {{json: …}} to store data; {name_hint(next(iter(node.items)), _ENTRY_NAMES)}"
            self._problems.add(at(what, f"unknown field {quoted(next(iter(node.items)))}"), node, hint)
            return
        own = self._options(node, what, (*_ENTRY_NAMES,))
        options = merged(self._defaults, own)
        self._check_lifetime(own, options, node, what)
        value, wrong = self._value(node, own, what)
        labels = node.items.get("labels")
        if labels is None:
            if value is not None:
                self._add(key.text, None, value, options, key)
            elif not wrong:
                hint = f"write one of {', '.join(VALUE_FORMS)}"
                self._problems.add(at(what, "the entry has no value"), node, hint)
            return
        self._read_labels(key, labels[1], value, wrong, options, what)

    def _read_labels(
        self, key: Scalar, node: Node, value: Value | None, wrong: bool, options: Options, what: str
    ) -> None:
        what = f"{what}.labels"
        if isinstance(node, Sequence) and node.items:
            self._read_label_list(key.text, node, value, wrong, options, what)
        elif isinstance(node, Mapping) and (node.items or value is not None):
            if value is not None:
                self._add(key.text, None, value, options, key)
            for label, member in node.items.values():
                if self._is_label(label.text, label, what):
                    self._read_label(key.text, label, member, value, options, f"{what}.{label.text}")
        else:
            hint = "write {label: value, …}, or [label, …] for one value under several labels"
            self._problems.add(at(what, "expected labels"), node, hint)

    def _read_label_list(
        self, key: str, node: Sequence, value: Value | None, wrong: bool, options: Options, what: str
    ) -> None:
        if value is None and not wrong:
            self._problems.add(at(what, "a list of labels needs a value beside it"), node)
        seen: set[str] = set()
        for item in node.items:
            if not isinstance(item, Scalar) or item.is_null:
                self._problems.add(at(what, "expected the name of a label"), item)
            elif item.text in seen:
                self._problems.add(at(what, f"the label {quoted(item.text)} is written twice"), item)
            elif self._is_label(item.text, item, what) and value is not None:
                seen.add(item.text)
                self._add(key, item.text, value, options, item)

    def _is_label(self, label: str, node: Node, what: str) -> bool:
        if label:
            return True
        self._problems.add(
            at(what, "a label must not be empty"), node, "the value beside labels is the entry without one"
        )
        return False

    def _read_label(
        self, key: str, label: Scalar, node: Node, parent: Value | None, options: Options, what: str
    ) -> None:
        if isinstance(node, Scalar) and not node.is_null:
            self._add(key, label.text, Value(node.text.encode()), options, label)
        elif isinstance(node, Scalar):
            self._problems.add(at(what, "a value must not be null"), node, _NULL_HINT)
        elif isinstance(node, Mapping):
            own = self._options(node, what, (*VALUE_FORMS, *_OPTIONS))
            inherited = merged(options, own)
            self._check_lifetime(own, inherited, node, what)
            value, wrong = self._value(node, own, what)
            value = value or (None if wrong else parent)
            if value is not None:
                self._add(key, label.text, value, inherited, label)
            elif not wrong:
                self._problems.add(at(what, "the label has no value"), node, f"write one of {', '.join(VALUE_FORMS)}")
        else:
            self._problems.add(at(what, "expected a value, found a list"), node, "write {json: […]} to store a list")

    def _options(self, node: Mapping, what: str, names: tuple[str, ...]) -> Options:
        options: Options = {}
        for name, (key, member) in node.items.items():
            decoder = _OPTIONS.get(name)
            if decoder is not None:
                value = decoder.decode(member, self._problems, f"{what}.{name}")
                if value is not INVALID:
                    options[name] = value
            elif name not in names:
                self._problems.add(at(what, f"unknown field {quoted(name)}"), key, name_hint(name, names))
        return packed(options)

    def _value(self, node: Mapping, own: Options, what: str) -> tuple[Value | None, bool]:
        """The value that an entry gives, and whether something is wrong with it."""
        forms = [name for name in node.items if name in _FORMS]
        if not forms:
            return None, False
        if len(forms) > 1:
            self._problems.add(at(what, f"{' and '.join(forms)} cannot stand together"), node.items[forms[1]][0])
            return None, True
        value = read_value(forms[0], node.items[forms[0]][1], self._around, self._problems, what)
        if value is not None and value.secret and own.get("sensitive") is False:
            hint = "leave sensitive out"
            self._problems.add(
                at(what, "a value from the environment is always sensitive"), node.items["sensitive"][0], hint
            )
        return value, value is None

    def _check_lifetime(self, own: Options, options: Options, node: Node, what: str) -> None:
        if own.get("ttl") is not None and "expires_at" in own:
            self._problems.add(
                at(what, "ttl and expires_at cannot stand together"), node, "a ttl is renewed, an end is not"
            )
        elif own.get("renew_before") is not None and options.get("ttl") is None:
            self._problems.add(at(what, "renew_before needs a ttl"), node)
        elif options.get("ttl") is not None and options.get("renew_before", 0) >= options["ttl"]:
            self._problems.add(at(what, f"renew_before must be shorter than the ttl of {options['ttl']}s"), node)

    def _add(self, key: str, label: str | None, value: Value, options: Options, place: Node) -> None:
        number = self._number(options, value)
        if self._rows.table[number].sensitive and (secret := value.data.decode(errors="ignore")):
            self.secrets.append(secret)
        self._rows.add(key, label, value.data, number, place.line, place.column)

    def _number(self, options: Options, value: Value) -> int:
        get: Any = options.get
        content_type, ttl = get("content_type"), get("ttl")
        if value.json and content_type == self._defaults.get("content_type") and not is_json_type(content_type):
            content_type = None  # what json: implies is nearer than a default meant for texts
        return self._rows.number(
            Shape(
                self._problems.file,
                content_type or ("application/json" if value.json else None),
                value.json and content_type is None,
                get("tags", ()),
                get("metadata"),
                ttl,
                get("expires_at"),
                get("renew_before") if ttl is not None else None,
                value.json,
                str(get("mode", Mode.ENFORCE)),
                get("protected", False),
                value.secret or get("sensitive", False),
            )
        )
