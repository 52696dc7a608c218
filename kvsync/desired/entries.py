"""Decoder of the entries under `keys:` and `files:`."""

from __future__ import annotations

from functools import partial
from typing import Final

from kvsync.desired.entry_options import ENTRY_NAMES, FORMS, LABEL_NAMES, EntryOptions, OptionsReader
from kvsync.desired.expansion import Expansion, written_size
from kvsync.desired.field_decoders import Placed
from kvsync.desired.fields import VALUE_FORMS, Options
from kvsync.desired.read_rules import UnreadableError
from kvsync.desired.rows import RowBuilder
from kvsync.desired.templates import Variables, read_template
from kvsync.desired.tree import is_text
from kvsync.desired.values import Value, ValueContext, is_absolute, note_unreadable, read_value
from kvsync.errors import ErrorCode, Kind, Problem
from kvsync.util.values import dataclass
from kvsync.yaml.fields import Problems, is_extension
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import at, inside, name_hint, quoted

_TEXT: Final = Value(b"")
_INLINE: Final = frozenset({"value", "json", "base64", "feature"})
"""Forms whose value stands in the file."""

_FEW: Final = 3
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NULL_HINT: Final = 'for an empty value, write ""'
_FORMS_HINT: Final = f"write one of {', '.join(VALUE_FORMS)}"
_LIST_HINT: Final = "to store a list, write {json: […]}"


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the entries of a document have in common: `defaults` for all, packed, the variables of templates, and the number of
    stores that the document names. With `is_secret`, all values are secrets."""

    defaults: Options
    variables: Variables
    stores: int = 1
    is_secret: bool = False


class EntryReader:
    """Reads the entries of one file of a document into `draft`."""

    def __init__(self, draft: RowBuilder, inherited: Inherited, around: ValueContext, problems: Problems) -> None:
        self._draft, self._around, self._problems = draft, around, problems
        self._variables, self._is_secret = inherited.variables, inherited.is_secret
        self._expansion = Expansion(around, problems, inherited.stores)
        self._options = OptionsReader(inherited.defaults, self._expansion, problems)
        self._defaults = self._options.defaults
        self.secrets: list[str] = []
        self.warnings: list[Problem] = []

    def read(self, items: dict[str, tuple[Scalar, Node]], skip: frozenset[str] = frozenset()) -> None:
        """Read all entries but those in `skip`."""
        # The hot loop: most entries are plain text without options of their own.
        number = self._number(self._defaults)
        add, sensitive = self._draft.rows.append, self._draft.table[number].sensitive
        if not sensitive:
            self._take_plain(items)
        for name, (key, node) in items.items():
            if name in skip:
                continue
            if isinstance(node, Scalar) and not sensitive and not (node.plain and node.text in _NULLS):
                add((name, None, node.text.encode(), number, key.line, key.column))
            else:
                self._read_entry(key, node, inside("keys", name))

    def _take_plain(self, items: dict[str, tuple[Scalar, Node]]) -> None:
        """Count the entries that are plain text; the others are counted one by one."""
        texts = [(name, len(node.text)) for name, (_, node) in items.items() if isinstance(node, Scalar)]
        if texts:
            place = items[texts[0][0]][0]
            self._expansion.take_entries(place, len(texts), sum([len(name) for name, _ in texts]), self._defaults.size)
            self._expansion.take_text(place, sum([size for _, size in texts]))

    def read_files(self, item: Placed, what: str) -> None:
        """Read a `files:` item: one entry for each file."""
        written, node = item
        path = written.get("path")
        if path is None or is_absolute(path, node, self._problems, what):
            return
        try:
            found, hidden = self._around.files(path, written["glob"], written["exclude"])
        except UnreadableError as error:
            note_unreadable(error, path, node, self._problems, what)
            return
        if not found:
            self._problems.add(
                at(what, f"no file under {quoted(path)} matches {quoted(written['glob'])}"),
                node,
                detail=ErrorCode.UNREADABLE,
            )
        if hidden:
            self.warnings.append(self._left_out(hidden, node, what))
        said = self._options.read_files(item, what)
        for name, data in found:
            if is_text(name):
                self._expansion.take_entries(node, 1, len(written["prefix"]) + len(name), said.size)
                self._append(written["prefix"] + name, None, Value(data), said, node)
            else:
                self._problems.add(at(what, f"the file name {quoted(name)} is not UTF-8"), node)

    def _left_out(self, hidden: list[str], node: Node, what: str) -> Problem:
        """The warning of what a wildcard passes over."""
        some = ", ".join(map(quoted, hidden[:_FEW])) + (", …" if len(hidden) > _FEW else "")
        message = f"wildcards do not match a name that begins with a dot, so these are left out: {some}"
        hint = "add an item whose glob has the dot, or list them under exclude"
        return Problem(at(what, message), self._problems.origin(node), hint, Kind.LEFT_OUT)

    def _read_entry(self, key: Scalar, node: Node, what: str) -> None:
        if isinstance(node, Mapping):
            self._read_mapping(key, node, what)
        elif isinstance(node, Scalar):
            self._read_scalar(key.text, None, node, self._defaults, key, what)
        else:
            self._problems.add(at(what, "expected a value, found a list"), node, _LIST_HINT)

    def _read_scalar(
        self, key: str, label: str | None, node: Scalar, said: EntryOptions, place: Scalar, what: str
    ) -> None:
        if node.is_null:
            self._problems.add(at(what, "a value must not be null"), node, _NULL_HINT)
        else:
            self._expansion.take_text(node, len(node.text))
            self._add(key, label, Value(node.text.encode()), said, place)

    def _read_mapping(self, key: Scalar, node: Mapping, what: str) -> None:
        if self._is_misplaced(node, what):
            return
        said = self._options.read(node, self._defaults, what, ENTRY_NAMES)
        value, is_wrong = self._value(node, said.own, what)
        labels = node.items.get("labels")
        if labels is not None:
            self._read_labels(key, labels[1], value, is_wrong, said, f"{what}.labels")
        elif value is not None:
            self._add(key.text, None, value, said, key)
        elif not is_wrong:
            self._problems.add(at(what, "the entry has no value"), node, _FORMS_HINT)

    def _is_misplaced(self, node: Mapping, what: str) -> bool:
        """True, with a problem noted, for a mapping that is not an entry at all."""
        if "remove" in node.items:
            hint = "delete the entry here; remove is for overlays such as web.prod.yaml"
            self._problems.add(at(what, "remove is only allowed in overlays"), node.items["remove"][0], hint)
            return True
        if not node.items.keys().isdisjoint(ENTRY_NAMES):
            return False
        first = next((name for name in node.items if not is_extension(name)), None)
        if first is not None:
            hint = f"to store data, write {{json: …}}; {name_hint(first, ENTRY_NAMES)}"
            self._problems.add(at(what, f"unknown field {quoted(first)}"), node, hint, detail=ErrorCode.UNKNOWN_FIELD)
        return first is not None

    def _read_labels(
        self, key: Scalar, node: Node, value: Value | None, is_wrong: bool, said: EntryOptions, what: str
    ) -> None:
        if isinstance(node, Sequence) and node.items:
            self._read_label_list(key.text, node, value, is_wrong, said, what)
        elif isinstance(node, Mapping) and (node.items or value is not None):
            if value is not None:
                self._add(key.text, None, value, said, key)
            for label, member in node.items.values():
                if self._is_label(label, what):
                    self._read_label(key.text, label, member, value, said, inside(what, label.text))
        else:
            hint = "write {label: value, …}, or [label, …] for the same value under several labels"
            self._problems.add(at(what, "expected labels"), node, hint)

    def _read_label_list(
        self, key: str, node: Sequence, value: Value | None, is_wrong: bool, said: EntryOptions, what: str
    ) -> None:
        if value is None and not is_wrong:
            self._problems.add(at(what, "a list of labels needs a value"), node)
        seen: set[str] = set()
        for item in node.items:
            if not isinstance(item, Scalar) or item.is_null:
                self._problems.add(at(what, "expected the name of a label"), item)
            elif item.text in seen:
                self._problems.add(at(what, f"the label {quoted(item.text)} is listed twice"), item)
            elif self._is_label(item, what) and value is not None:
                seen.add(item.text)
                self._expansion.take_text(item, len(value.data))
                self._add(key, item.text, value, said, item)

    def _is_label(self, label: Scalar, what: str) -> bool:
        if not label.text:
            hint = "for the entry without a label, set value next to labels"
            self._problems.add(at(what, "a label must not be empty"), label, hint)
        return bool(label.text)

    def _read_label(
        self, key: str, label: Scalar, node: Node, parent: Value | None, under: EntryOptions, what: str
    ) -> None:
        if isinstance(node, Scalar):
            self._read_scalar(key, label.text, node, under, label, what)
        elif isinstance(node, Mapping):
            said = self._options.read(node, under, what, LABEL_NAMES)
            value, is_wrong = self._value(node, said.own, what)
            if value is None and parent is not None and not is_wrong:
                self._expansion.take_text(label, len(parent.data))
                value = parent
            if value is not None:
                self._add(key, label.text, value, said, label)
            elif not is_wrong:
                self._problems.add(at(what, "the label has no value"), node, _FORMS_HINT)
        else:
            self._problems.add(at(what, "expected a value, found a list"), node, _LIST_HINT)

    def _value(self, node: Mapping, own: Options, what: str) -> tuple[Value | None, bool]:
        """The value that an entry gives, and whether something is wrong with it."""
        forms = [name for name in node.items if name in FORMS]
        if not forms:
            return None, False
        if len(forms) > 1:
            self._problems.add(
                at(what, f"{' and '.join(forms)} cannot be combined"), node.items[forms[1]][0], "keep one of them"
            )
            return None, True
        if forms[0] in _INLINE:
            self._expansion.take_text(node, written_size(node.items[forms[0]][1]))
        value = self._read_form(forms[0], node.items[forms[0]][1], what)
        if value is not None and (value.secret or self._is_secret) and own.get("sensitive") is False:
            message = at(what, "a value from the environment or an encrypted file is always sensitive")
            self._problems.add(message, node.items["sensitive"][0], "remove sensitive")
        return value, value is None

    def _read_form(self, form: str, node: Node, what: str) -> Value | None:
        if form == "template":
            return read_template(node, self._variables, self._problems, what, partial(self._expansion.take_text, node))
        return read_value(form, node, self._around, self._problems, what)

    def _add(self, key: str, label: str | None, value: Value, said: EntryOptions, place: Node) -> None:
        self._expansion.take_entries(place, 1, len(key) + len(label or ""), said.size)
        self._append(key, label, value, said, place)

    def _append(self, key: str, label: str | None, value: Value, said: EntryOptions, place: Node) -> None:
        value = value.of_key(key)
        number = self._number(said, value)
        if self._draft.table[number].sensitive and (secret := value.data.decode(errors="ignore")):
            self.secrets.append(secret)
        if value.node is not None:
            self._draft.nodes[len(self._draft.rows)] = value.node
        self._draft.rows.append((key, label, value.data, number, place.line, place.column))

    def _number(self, said: EntryOptions, value: Value = _TEXT) -> int:
        secret = value.secret or self._is_secret
        form = value.json, secret, value.feature is not None
        known = said.numbers.get(form)
        if known is None:
            template = said.template(self._problems.file, self._defaults, value, secret=secret)
            known = said.numbers[form] = self._draft.number(template)
        return known
