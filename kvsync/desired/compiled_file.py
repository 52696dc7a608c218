"""Compiles a state file and its overlay to a unit for its stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Lookup
from collections.abc import Sequence as Several
from contextlib import suppress
from dataclasses import replace
from traceback import extract_tb
from typing import Final

from kvsync.config.authority import Authority
from kvsync.config.model import ReadLimits
from kvsync.desired.compile import compile_document
from kvsync.desired.document import Document, Layer
from kvsync.desired.document_decoder import read_document
from kvsync.desired.document_names import documents_of, left_targets, named
from kvsync.desired.fields import DOCUMENT_FIELDS
from kvsync.desired.layering import is_named, pair_layers
from kvsync.desired.model import CompiledFile, DocumentRows, Stores
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.sops import Decryptor
from kvsync.desired.tree import Tree
from kvsync.desired.value_checks import check_values
from kvsync.desired.values import ValueContext
from kvsync.errors import Kind, Origin, Problem
from kvsync.model.entry import Target
from kvsync.util.shortage import shortage_of
from kvsync.util.values import dataclass
from kvsync.yaml.fields import Problems, is_extension
from kvsync.yaml.nodes import Mapping, Node, Scalar
from kvsync.yaml.parse import parse_all
from kvsync.yaml.parsed import Parsed, ParseLimits
from kvsync.yaml.problems import TooManyProblemsError

_WITHOUT_FILES: Final = {one.name for one in DOCUMENT_FIELDS} - {"files"}
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_NEXT_DOCUMENT: Final = re.compile(rb"(?m)^---(?:\s|$)")


@dataclass(frozen=True, slots=True)
class CompileInputs:
    """Inputs of compiling a state file besides its text: what it may refer to, and what it may cost. The files in `decrypted`
    were encrypted: all their values are secrets."""

    tree: Tree
    environ: Lookup[str, str]
    limits: ReadLimits
    allowance: ReadingBudget
    decryptor: Decryptor | None = None
    decrypted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FileHead:
    """What the file at `path` begins with, to the end of a line, and whether another document may follow."""

    path: str
    data: bytes
    has_more: bool


class _SourceFile:
    """One file of a unit: its documents, its problems, and what it refers to."""

    def __init__(self, path: str, data: bytes, given: CompileInputs, authority: Authority) -> None:
        limits = given.limits
        self.problems = Problems(path, limits.problems)
        self.around = ValueContext(given.tree, path, given.environ, given.allowance, authority, given.decryptor)
        self.is_secret = path in given.decrypted
        self.parsed = parse_all(
            data,
            path,
            ParseLimits(limits.state_file, limits.nesting, limits.aliases, limits.problems, limits.documents),
        )
        self.problems.extend(self.parsed.problems)
        self.documents: list[Mapping] = []
        with suppress(TooManyProblemsError):
            self._take_documents()

    def _take_documents(self) -> None:
        wanted = [node for node in self.parsed.documents if not _is_nothing(node)]
        if self.parsed.complete and not wanted:  # as a file that is about to be written
            self.problems.add(
                "the file is empty", None, "write store, namespace and keys; use keys: {} for an empty target"
            )
        else:
            self.documents = documents_of(wanted, self.problems)

    def reported(self) -> Several[Problem]:
        """The problems of the file. Those of a decrypted file repeat nothing of its text."""
        found = self.problems.all()
        return (
            [replace(one, message=_QUOTED.sub('"…"', one.message), hint=None) for one in found]
            if self.is_secret
            else found
        )

    def layer(self, node: Mapping) -> Layer:
        """One of the documents, with what belongs to the file."""
        return Layer(node, self.problems, self.around, self.is_secret)


def compiled(files: Several[tuple[str, bytes]], given: CompileInputs, stores: Stores) -> CompiledFile:
    """Read a state file and, when there is one, the overlay after it. Never raises: what nobody expected is a problem of this
    file, and holds its targets; all others go on."""
    try:
        return build_unit(files, given, stores)
    except Exception as error:  # noqa: BLE001  # MemoryError and RecursionError among them
        problem = _unexpected(files[0][0], error)
    with suppress(Exception):
        return unread_unit([FileHead(path, data, has_more=False) for path, data in files], problem, stores)
    return CompiledFile((), (), names_known=False, problems=(problem,), references=())


def _unexpected(path: str, error: Exception) -> Problem:
    """The problem of a file that kvsync failed on. Says where in kvsync, but not in whose words: they may hold a value."""
    if (shortage := shortage_of(error)) is not None:
        return Problem(f"the file cannot be read: {shortage}", Origin(path, 1, 1), kind=Kind.UNREADABLE)
    frame = extract_tb(error.__traceback__)[-1]
    place = f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"
    message = f"unexpected {type(error).__name__} at {place} while reading this file; this is a bug in kvsync"
    return Problem(message, Origin(path, 1, 1), "report it; until it is fixed, revert the last change to this file")


def build_unit(files: Several[tuple[str, bytes]], given: CompileInputs, stores: Stores) -> CompiledFile:
    """Read a state file and, when there is one, the overlay after it."""
    sources = [_SourceFile(path, data, given, stores.authority) for path, data in files]
    base, *overlays = [[source.layer(node) for node in source.documents] for source in sources]
    layered = pair_layers(base, overlays)
    written = [([layer.node for layer in layers], [layer.problems.file for layer in layers]) for layers in layered]
    targets, known = _targets(written, stores)
    if len(targets) > given.limits.targets:
        return CompiledFile(
            (), targets, known, (_too_many_targets(files[0][0], len(targets), given.limits),), (), is_crowded=True
        )
    documents: list[Document] = []
    if all(source.parsed.complete for source in sources):
        with suppress(TooManyProblemsError):  # the documents before that count all the same
            documents.extend(read_document(layers, stores) for layers in layered)
    problems = [problem for source in sources for problem in source.reported()]
    problems += _too_many_patterns(documents, given.limits.patterns)
    chunks: list[DocumentRows] = []
    for document in documents:
        if document.namespace is not None:
            problems += check_values(document, stores.schemas, given.limits.problems)
            # Also alongside other problems: what a store cannot hold is said at once, not in the next round.
            chunks += compile_document(document, stores, problems, given.limits.problems)
    known = known or not (written or problems)
    references = {key: value for source in sources for key, value in source.around.references.items()}
    variables = {name: value for source in sources for name, value in source.around.variables.items()}
    secrets = tuple(dict.fromkeys(secret for document in documents for secret in document.secrets))
    return CompiledFile(
        () if problems else tuple(chunks),
        targets,
        known and all(_shows_all(source.parsed, data) for source, (_, data) in zip(sources, files, strict=True)),
        tuple(problems),
        tuple(references.values()),
        variables,
        secrets,
        bool(secrets or variables or given.decrypted),
        warnings=tuple(warning for document in documents for warning in document.warnings),
        withheld=tuple(chunks) if problems else (),
        keys=_keys(written) if all(source.parsed.complete for source in sources) else None,
    )


def _keys(written: Several[tuple[Several[Mapping], Several[str]]]) -> frozenset[str] | None:
    """The keys that documents write; None if one takes some from the names of files, or has none, or has a field that may be
    meant as the one for keys."""
    found: set[str] = set()
    for layers, _ in written:
        fields = {name for node in layers for name in node.items if not is_extension(name)}
        keys = [node.items["keys"][1] for node in layers if "keys" in node.items]
        if not keys or not fields <= _WITHOUT_FILES:
            return None
        for node in keys:
            if not isinstance(node, Mapping):
                return None
            found.update(node.items)
    return frozenset(found)


def unread_unit(heads: Several[FileHead], problem: Problem, stores: Stores) -> CompiledFile:
    """The unit of a state file that is too large to be read: held back, with the targets that its first lines name."""
    parsed = [parse_all(head.data, "") for head in heads]
    base, *overlays = [
        [([node], [head.path]) for node in one.documents if isinstance(node, Mapping)]
        for head, one in zip(heads, parsed, strict=True)
    ]
    added = [(nodes, files) for written in overlays for nodes, files in written if is_named(nodes[0])]
    targets, known = _targets(base + added, stores)
    shows_all = all(_shows_all(one, head.data) and not head.has_more for one, head in zip(parsed, heads, strict=True))
    return CompiledFile((), targets, known and shows_all, (problem,), ())


def _too_many_patterns(documents: Several[Document], most: int) -> Iterator[Problem]:
    """Each key of a target is compared with every pattern of `policy.ignore`, in every pass."""
    for document in documents:
        if max((len(lines.get("ignore", ())) for lines in document.policies), default=0) > most:
            message = f"policy.ignore: more than {most:,} patterns"
            yield Problem(message, document.policy_origin, "remove patterns, or raise limits.patterns")


def _too_many_targets(path: str, targets: int, limits: ReadLimits) -> Problem:
    message = f"the state file names {targets:,} targets; at most {limits.targets:,} are allowed"
    return Problem(message, Origin(path, 1, 1), "split it into several files, or raise limits.targets")


def _targets(documents: Several[tuple[list[Mapping], list[str]]], stores: Stores) -> tuple[tuple[Target, ...], bool]:
    """The targets that the documents name and may name, and whether that is all of them. A target that a file may not name is
    none of its business: what is wrong with the file does not hold it. Each document comes with the files it is written in."""
    targets: dict[Target, None] = {}
    complete = bool(documents)
    for nodes, files in documents:
        names, namespace = named(nodes, stores.facts)
        if not names or namespace is None:
            complete = False
            continue
        grants = stores.authority.grants_of(files)
        wanted = [Target(name, namespace) for name in names]
        wanted += left_targets(nodes, stores.facts)
        targets.update((target, None) for target in wanted if stores.authority.may_name(grants, target))
    return tuple(targets), complete


def _shows_all(parsed: Parsed, data: bytes) -> bool:
    """False when a file could not be read to its end and may hold documents that nobody saw."""
    if parsed.complete:
        return all(isinstance(node, Mapping) or _is_nothing(node) for node in parsed.documents)
    broken = max((problem.origin.line for problem in parsed.problems if problem.origin), default=1)
    rest = data.split(b"\n")[broken - 1 :]
    return len(parsed.documents) > 0 and not _NEXT_DOCUMENT.search(b"\n".join(rest))


def _is_nothing(node: Node) -> bool:
    """True for a document without content: templates leave them, and so does a `---` at the end."""
    return isinstance(node, Scalar) and node.plain and not node.text
