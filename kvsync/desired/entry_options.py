"""Decoder of the options of an entry: everything except its value."""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from kvsync.desired.expansion import Expansion, options_size, written_size
from kvsync.desired.field_decoders import AFTER_ALL, Placed
from kvsync.desired.fields import LABELLED_FIELDS, VALUE_FORMS, Options, merged, packed
from kvsync.desired.rows import RowTemplate
from kvsync.desired.values import Value
from kvsync.errors import ErrorCode
from kvsync.model.canonical import is_json_type
from kvsync.model.entry import Mode
from kvsync.model.feature_flags import FLAG_TYPE
from kvsync.yaml.fields import INVALID, Decoder, Problems, is_extension
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import at, inside, name_hint, quoted

FORMS: Final = frozenset(VALUE_FORMS)
"""Fields of an entry that give its value."""

_OPTIONS: Final[dict[str, Decoder]] = {
    field.name: field.decoder for field in LABELLED_FIELDS if field.name not in FORMS
}
_SILENT: Final = FORMS | {"labels"}

LABEL_NAMES: Final = (*VALUE_FORMS, *_OPTIONS)
"""Fields of an entry under a label."""

ENTRY_NAMES: Final = (*LABEL_NAMES, "labels", "remove")
"""Fields of an entry."""


class EntryOptions:
    """The options of an entry, including those it inherits. `numbers` are those of the row templates, by form of value."""

    __slots__ = ("numbers", "options", "own", "size")

    def __init__(self, own: Options, options: Options) -> None:
        self.own, self.options = own, options
        self.numbers: dict[tuple[bool, bool, bool], int] = {}
        self.size = options_size(options)

    def inherited(self) -> EntryOptions:
        """The same for an entry below, which says nothing of its own."""
        if not self.own:
            return self
        below = copy(self)
        below.own = {}
        return below

    def template(self, file: str, defaults: EntryOptions, value: Value, *, secret: bool) -> RowTemplate:
        """The row template of an entry in `file` with these options and a value of this form."""
        options = self.options
        content_type, ttl, after = options.get("content_type"), options.get("ttl"), options.get("after", ())
        json, is_flag = value.json, value.feature is not None
        if (
            (json or is_flag)
            and content_type == defaults.options.get("content_type")
            and not is_json_type(content_type)
        ):
            content_type = None  # what json: implies is nearer than a default meant for texts
        return RowTemplate(
            file=file,
            content_type=FLAG_TYPE if is_flag else content_type or ("application/json" if json else None),
            implied_type=json and content_type is None,
            tags=options.get("tags", ()),
            metadata=options.get("metadata"),
            description=options.get("description"),
            ttl=ttl,
            expires_at=options.get("expires_at"),
            renew_before=options.get("renew_before") if ttl is not None else None,
            json=json,
            mode=str(options.get("mode", Mode.ENFORCE)),
            protected=options.get("protected", False),
            sensitive=secret or options.get("sensitive", False),
            after=() if after == AFTER_ALL else after,
            after_all=after == AFTER_ALL,
            feature=is_flag,
        )


class OptionsReader:
    """Reads the options of the entries of one file of a document. Options that many entries write in the same words are read
    once. `defaults`, packed, hold for all entries."""

    def __init__(self, defaults: Options, expansion: Expansion, problems: Problems) -> None:
        self._expansion, self._problems = expansion, problems
        self.defaults = EntryOptions({}, defaults)
        self._known: dict[tuple[EntryOptions, Any], EntryOptions] = {}

    def read_files(self, item: Placed, what: str) -> EntryOptions:
        """The options of a decoded `files:` item."""
        written, node = item
        self._take(node, self.defaults)
        own = packed({name: value for name, value in written.items() if name in _OPTIONS})
        options = EntryOptions(own, merged(self.defaults.options, own))
        self._check_lifetime(options, node, what)
        return options

    def read(self, node: Mapping, under: EntryOptions, what: str, names: tuple[str, ...]) -> EntryOptions:
        """What a mapping says besides its value. What many entries say in the same words is read once."""
        silent = _SILENT if names is ENTRY_NAMES else FORMS
        words = tuple([(name, _words(item[1])) for name, item in node.items.items() if name not in silent])
        if not words:
            return under.inherited()
        known = self._known.get((under, words))
        if known is not None:
            return known
        self._take(node, under)
        before = len(self._problems)
        own = self._decoded(node, what, names)
        said = EntryOptions(own, merged(under.options, own))
        self._check_lifetime(said, node, what)
        if len(self._problems) == before:
            self._known[under, words] = said
        return said

    def _take(self, node: Node, under: EntryOptions) -> None:
        """Count what a mapping says besides its value, laid over what it inherits."""
        assert isinstance(node, Mapping)
        own = sum([written_size(member) for name, (_, member) in node.items.items() if name in _OPTIONS])
        self._expansion.take_text(node, own + under.size)

    def _decoded(self, node: Mapping, what: str, names: tuple[str, ...]) -> Options:
        options: Options = {}
        for name, (key, member) in node.items.items():
            decoder = _OPTIONS.get(name)
            if decoder is not None:
                value = decoder.decode(member, self._problems, inside(what, name))
                if value is not INVALID:
                    options[name] = value
            elif name not in names and not is_extension(name):
                self._problems.add(
                    at(what, f"unknown field {quoted(name)}"),
                    key,
                    name_hint(name, names),
                    detail=ErrorCode.UNKNOWN_FIELD,
                )
        return packed(options)

    def _check_lifetime(self, said: EntryOptions, node: Node, what: str) -> None:
        own, ttl = said.own, said.options.get("ttl")
        if own.get("ttl") is not None and "expires_at" in own:
            hint = "a ttl is renewed, expires_at is not; remove one of them"
            self._problems.add(at(what, "ttl and expires_at cannot be combined"), node, hint)
        elif own.get("renew_before") is not None and ttl is None:
            self._problems.add(at(what, "renew_before needs a ttl"), node)
        elif ttl is not None and said.options.get("renew_before", 0) >= ttl:
            self._problems.add(at(what, f"renew_before must be shorter than the ttl of {ttl}s"), node)


def _words(node: Node) -> Any:
    """A node as it is written, without its place: equal words say the same."""
    if isinstance(node, Scalar):
        return node.text, node.plain
    if isinstance(node, Mapping):
        return tuple([(name, _words(member)) for name, (_, member) in node.items.items()])
    assert isinstance(node, Sequence)
    return (None, *[_words(item) for item in node.items])
