"""Reads the entries to dump and distributes them to files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from kvsync.app.dump.check import faults
from kvsync.app.dump.encryption import Encryption
from kvsync.app.dump.model import Dumped, OmittedEntry
from kvsync.app.dump.names import UniqueNames, safe_name, variable_names
from kvsync.app.dump.suspects import looks_secret
from kvsync.app.dump.writer import DumpEntry, write
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Content, Identity, Target, identity_order
from kvsync.planning.audit import is_text
from kvsync.planning.compare import key_matcher
from kvsync.reconcile.observer import Observer
from kvsync.util.escaping import escape_text, is_unicode

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.stores.base import Store

_LARGE: Final = 64 * 1024
"""Bytes of a value from which on it gets a file of its own."""

_MOST_IN_A_FILE: Final = 4 * 1024 * 1024
"""Bytes of values after which another state file is begun: they are refused from 10 MiB on."""

_UNSETTABLE: Final = "its value holds a NUL character, which no environment variable can; use --include-sensitive"
_NOT_TEXT: Final = "its value is not text, which --sops cannot encrypt; use --include-sensitive"
_References = Mapping[Identity, tuple[str, ...]]
_HEAD: Final = "# Entries of {target}, exported by kvsync dump.\n"
_SECRETS: Final = (
    "# Sensitive values are not in this file; set these variables for kvsync, and add them to authors.env in\n"
    "# kvsync.yaml: {names}\n"
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What becomes of sensitive values: written in plain text with `is_included`, encrypted with `encryption`, else left to
    environment variables."""

    is_included: bool = False
    encryption: Encryption | None = None


async def dump(
    workspace: Workspace, store: str, namespaces: Sequence[str], secrets: Secrets = Secrets()
) -> list[Dumped]:
    """What these namespaces of a store hold, as files. Raises StoreError, and KvsyncError when nothing can be encrypted."""
    writer = _Dumper(workspace, secrets)
    return [
        writer.dumped(target, await _read(workspace, target)) for target in (Target(store, one) for one in namespaces)
    ]


def convert(
    workspace: Workspace, held: Mapping[Target, Sequence[Actual]], secrets: Secrets = Secrets()
) -> list[Dumped]:
    """The same for entries that come from elsewhere."""
    writer = _Dumper(workspace, secrets)
    return [writer.dumped(target, _ReadEntries(entries)) for target, entries in held.items()]


class _Dumper:
    """Writes the entries of several targets to files whose names differ."""

    def __init__(self, workspace: Workspace, secrets: Secrets) -> None:
        self._workspace, self._secrets = workspace, secrets
        self._names = UniqueNames({workspace.config.file.stem.casefold()})  # never over the configuration

    def dumped(self, target: Target, held: _ReadEntries) -> Dumped:
        """The files of one target, with only what comes back from them as it is in the store."""
        workspace, owner = self._workspace, self._workspace.config.owner
        passed_over = [(one.identity, reason) for one in held.entries if (reason := self._skip_reason(target, one))]
        capabilities = workspace.stores[target.store].capabilities
        skipped = {identity for identity, _ in passed_over}
        kept = [_entry(one, owner, capabilities) for one in held.entries if one.identity not in skipped]
        kept = [replace(one, is_flag=self._is_flag(target, one.identity)) for one in kept]
        workspace.redactor.register_values(*(entry.content.value for entry in kept if entry.sensitive))
        stem = self._names.free(safe_name(target.namespace))
        left_out = {one.identity: reason for one in kept if (reason := _not_unicode(one.content)) is not None}
        names = {} if self._secrets.is_included else variable_names(kept, workspace.config.authority)
        left_out |= {one.identity: reason for one in kept if one.identity in names and (reason := self._unfit(one))}
        files = self._files(target, stem, kept, names, left_out)
        while faulty := faults(workspace, target, files, [one for one in kept if one.identity not in left_out], names):
            left_out |= faulty
            files = self._files(target, stem, kept, names, left_out)
        written = [one for one in kept if one.identity not in left_out]
        hidden = {names[one.identity]: one for one in written if one.identity in names}
        encryption = self._secrets.encryption
        if encryption is not None and hidden:
            name = f"{stem}-secrets.sops.json"
            files = self._files(target, stem, kept, names, left_out, name)
            files[name] = encryption.encrypted({name: one.content.value.decode() for name, one in hidden.items()})
        return Dumped(
            target,
            files,
            len(written),
            {name: one.identity for name, one in hidden.items() if encryption is None},
            _listed((left_out | dict(held.unread)).items()),
            _listed(passed_over),
            tuple(one.identity for one in written if one.identity not in names and looks_secret(one)),
            tuple(one.identity for one in hidden.values() if encryption is not None),
        )

    def _files(
        self,
        target: Target,
        stem: str,
        entries: Sequence[DumpEntry],
        names: Mapping[Identity, str],
        left_out: Mapping[Identity, str],
        secrets_file: str | None = None,
    ) -> dict[str, bytes]:
        """The files; with `secrets_file`, sensitive values are taken from there in place of the environment."""
        written = [one for one in entries if one.identity not in left_out]
        references = {
            identity: ("env", name) if secrets_file is None else ("sops", f"./{secrets_file}", name)
            for identity, name in names.items()
        }
        return _files(target, stem, written, references, UniqueNames(set(self._names.taken)))

    def _is_flag(self, target: Target, identity: Identity) -> bool:
        """True for a key under which the store keeps a feature flag."""
        store = self._workspace.stores[target.store]
        prefix = store.capabilities.flag_prefix
        if prefix is None:
            return False
        try:
            return store.remote_key(target.namespace, identity).startswith(prefix)
        except ValueError:
            return False

    def _unfit(self, entry: DumpEntry) -> str | None:
        """Why a sensitive value cannot be referred to; None when it can."""
        if self._secrets.encryption is not None and not is_text(entry.content.value):
            return _NOT_TEXT
        return _UNSETTABLE if b"\0" in entry.content.value else None

    def _skip_reason(self, target: Target, actual: Actual) -> str | None:
        """Why an entry does not belong in these files; None when it does."""
        if actual.mark is not None and actual.mark.owner != self._workspace.config.owner:
            return f"it belongs to owner {actual.mark.owner!r}"
        is_ignored = key_matcher(self._workspace.config.stores[target.store].policy.ignore)
        return "it matches policy.ignore" if is_ignored(actual.identity.key) else None


def _not_unicode(content: Content) -> str | None:
    """Why no file can hold an entry: JSON from a store or an export can hold half of a surrogate pair. None when one can."""
    tags = "".join(text for pair in content.tags for text in pair)
    parts = {"content_type": content.content_type, "metadata": content.metadata, "description": content.description}
    for name, text in {**parts, "tags": tags}.items():
        if text and not is_unicode(text):
            return f"{name} is not Unicode text: it has half of a surrogate pair"
    return None


def _listed(reasons: Iterable[tuple[Identity, str]]) -> tuple[OmittedEntry, ...]:
    ordered = sorted(reasons, key=lambda item: identity_order(item[0]))
    return tuple(OmittedEntry(identity, reason) for identity, reason in ordered)


class _ReadEntries(NamedTuple):
    """The entries of a target with their content, and those that are listed but could not be read."""

    entries: Sequence[Actual]
    unread: Mapping[Identity, str] = {}


async def _read(workspace: Workspace, target: Target) -> _ReadEntries:
    observer = Observer(workspace.stores[target.store], await workspace.locate(target), workspace.state)
    snapshot = await observer.observe(None, deep=False)
    assert snapshot is not None  # no token was given
    listed = list(snapshot.require_complete().entries.values())
    fresh = await observer.read_some([one.identity for one in listed if one.content is None])
    found = [fresh.get(one.identity) if one.content is None else one for one in listed]
    unread = [one.identity for one, actual in zip(listed, found, strict=True) if actual is None]
    store, failed = workspace.stores[target.store], observer.unread
    return _ReadEntries(
        [one for one in found if one is not None],
        {identity: _why_unread(store, target, identity, failed.get(identity)) for identity in unread},
    )


def _why_unread(store: Store, target: Target, identity: Identity, error: str | None) -> str:
    if error is not None:
        return f"it could not be read: {error}"
    try:
        store.remote_key(target.namespace, identity)
    except ValueError as error:
        return str(error)
    return "it was listed, but could not be read; it may have been deleted in the meantime"


def _entry(actual: Actual, owner: str, capabilities: Capabilities) -> DumpEntry:
    """An entry as files would ask for it. Of ours, the longest life there is means that it must stay."""
    assert actual.content is not None
    print_ = actual.fingerprint if actual.fingerprint is not None else fingerprint(actual.content)
    sensitive = capabilities.sensitive
    is_untyped = not (capabilities.content_type and capabilities.implied_types)
    entry = DumpEntry(
        actual.identity,
        actual.content,
        print_,
        expires_at=actual.expires_at,
        sensitive=sensitive,
        is_untyped=is_untyped,
    )
    if actual.mark is None or actual.mark.owner != owner:
        return entry
    mark = actual.mark
    entry = replace(entry, protected=mark.protected, sensitive=sensitive or mark.sensitive)
    is_longest = mark.ttl is not None and mark.ttl == capabilities.longest
    return replace(entry, expires_at=None) if is_longest else replace(entry, ttl=mark.ttl)


def _files(
    target: Target, stem: str, entries: Sequence[DumpEntry], references: _References, names: UniqueNames
) -> dict[str, bytes]:
    """The files by their names: `stem` for the first, and free ones for others."""
    files: dict[str, bytes] = {}
    written = list(_referenced(f"{stem}-files", entries, references, files))
    for number, part in enumerate(_parts(written), start=1):
        head = _HEAD.format(target=escape_text(str(target)))
        unset = [entry.reference[1] for entry in part if entry.reference and entry.reference[0] == "env"]
        head += _SECRETS.format(names=", ".join(unset)) if unset else ""
        name = stem if number == 1 else names.free(f"{stem}-part{number}")
        files[f"{name}.yaml"] = (head + write(target, part)).encode()
    return files


def _referenced(
    folder: str, entries: Sequence[DumpEntry], references: _References, files: dict[str, bytes]
) -> Iterator[DumpEntry]:
    """The entries, with references for values that do not belong into a state file; large ones are put into `files`."""
    names = UniqueNames()
    for entry in entries:
        if entry.identity in references:
            yield replace(entry, reference=references[entry.identity])
        elif len(entry.content.value) > _LARGE:
            name = f"{folder}/{names.free(safe_name(entry.identity.key))}.bin"
            files[name] = entry.content.value
            yield replace(entry, reference=("file", f"./{name}"))
        else:
            yield entry


def _parts(entries: Sequence[DumpEntry]) -> Iterator[list[DumpEntry]]:
    """The entries in portions that a state file takes. All labels of a key stay together."""
    part: list[DumpEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda one: one.identity.key):
        if size > _MOST_IN_A_FILE and part[-1].identity.key != entry.identity.key:
            yield part
            part, size = [], 0
        part.append(entry)
        size += 200 + len(entry.identity.key) + (0 if entry.reference else 2 * len(entry.content.value))
    if part:
        yield part
