"""Files encrypted with SOPS: decrypted by the `sops` program, in memory only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from kvsync.config.sops import SopsConfig, SopsKey
from kvsync.desired.read_rules import UnreadableError
from kvsync.errors import Problem
from kvsync.model.canonical import canonical_json
from kvsync.model.exact_json import read_json
from kvsync.util.escaping import escape_text
from kvsync.yaml.nodes import Mapping as MappingNode
from kvsync.yaml.nodes import Node, Scalar, Sequence
from kvsync.yaml.parse import parse_all

METADATA: Final = "sops"
"""Field of an encrypted file that SOPS keeps its metadata in."""

_MOST_BYTES: Final = 16 * 1024 * 1024
"""Size of a decrypted file, at most."""

_MOST_FILES: Final = 200
"""Decrypted files that are kept in memory."""

_MOST_SECONDS: Final = 300.0
"""Time for decrypting all files of one reading."""

_TYPES: Final = {"yaml": "yaml", "yml": "yaml", "json": "json"}


def is_encrypted_name(path: str) -> bool:
    """True for the name of a state file that is a SOPS document as a whole: `web.sops.yaml`."""
    pieces = path.rpartition("/")[2].lower().split(".")
    return len(pieces) >= 3 and "sops" in pieces[1:-1] and pieces[-1] in _TYPES


class DecryptionError(Exception):
    """A state file that is encrypted as a whole cannot be decrypted."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class Decryptor:
    """Decrypts files with the `sops` program. Keeps what it decrypted in the memory of this process, by content, so that a file
    that does not change is decrypted once."""

    def __init__(self, config: SopsConfig, environ: Mapping[str, str]) -> None:
        self._config, self._environ = config, environ
        self._known: dict[bytes, bytes] = {}
        self._left = _MOST_SECONDS

    def begin(self) -> None:
        """Begin another reading, which has its own time."""
        self._left = _MOST_SECONDS

    def value(self, data: bytes, path: str, key: tuple[str, ...]) -> tuple[bytes, bool]:
        """The value under a key of an encrypted file, and whether it is JSON, as lists and mappings are. Raises
        UnreadableError."""
        found: Any = read_json(self._decrypted(data, path, "json").decode())
        for part in key:
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            else:
                raise UnreadableError("the decrypted file has no such key")
        if found is None:
            raise UnreadableError("the value is null")
        if isinstance(found, str):
            return found.encode("utf-8", "surrogateescape"), False
        return canonical_json(found).encode("utf-8", "surrogateescape"), isinstance(found, dict | list)

    def document(self, data: bytes, path: str) -> bytes:
        """An encrypted file as a whole, as YAML. Raises UnreadableError."""
        return self._decrypted(data, path, "yaml")

    def _decrypted(self, data: bytes, path: str, form: str) -> bytes:
        key = blake2b(data, digest_size=16, person=form.encode()).digest()
        known = self._known.get(key)
        if known is None:
            self._check(data, path)
            known = self._run(data, _type_of(path), form)
            if len(self._known) >= _MOST_FILES:
                del self._known[next(iter(self._known))]
            self._known[key] = known
        return known

    def _check(self, data: bytes, path: str) -> None:
        """Raise UnreadableError for a file that is not encrypted, or with a kind of key that is not allowed."""
        parsed = parse_all(data, path)
        documents = [node for node in parsed.documents if not (isinstance(node, Scalar) and node.is_null)]
        if parsed.problems or len(documents) != 1:
            raise UnreadableError("it is not a single valid YAML document")
        root = documents[0]
        metadata = root.items[METADATA][1] if isinstance(root, MappingNode) and METADATA in root.items else None
        if not isinstance(metadata, MappingNode):
            raise UnreadableError("it is not encrypted with SOPS")
        for kind in sorted(set(_kinds(metadata)) - set(self._config.keys)):
            raise UnreadableError(_not_allowed(kind, self._config))

    def _run(self, data: bytes, kind: str, form: str) -> bytes:
        from shutil import which  # imports compression; most files are not encrypted

        from kvsync.desired.sops_errors import sops_failure
        from kvsync.util.bounded_process import ProcessOutputTooLarge, ProcessTimeout, run_bounded

        program = which(self._config.program, path=self._environ.get("PATH"))
        if program is None:
            raise UnreadableError(
                f"there is no program {self._config.program} in PATH; install SOPS, or set sops.program"
            )
        if self._left <= 0:
            raise UnreadableError(f"decrypting the files took longer than {_MOST_SECONDS:g} s")
        command = (
            program,
            "--config",
            "/dev/null",
            "--decrypt",
            "--input-type",
            kind,
            "--output-type",
            form,
            "/dev/stdin",
        )
        timeout, began = min(self._config.timeout, self._left), time.monotonic()
        try:
            done = run_bounded(command, data, self._environ, timeout=timeout, most=_MOST_BYTES)
        except ProcessTimeout:
            raise UnreadableError(f"sops took longer than {timeout:g} s; see sops.timeout") from None
        except ProcessOutputTooLarge:
            raise UnreadableError(f"it has more than {_MOST_BYTES // 2**20} MiB when decrypted") from None
        except OSError as error:
            raise UnreadableError(f"cannot run sops: {error.strerror}") from None
        finally:
            self._left -= time.monotonic() - began
        if done.code != 0:
            raise UnreadableError(f"sops cannot decrypt it: {sops_failure(done.error)}")
        return done.output


def _not_allowed(kind: str, config: SopsConfig) -> str:
    message = f"it is encrypted with a key of the kind {escape_text(kind)[:40]}, which sops.keys does not list"
    if kind not in set(SopsKey):
        return message
    return f"{message}; an operator can allow it in kvsync.yaml: sops: {{keys: [{', '.join((*config.keys, kind))}]}}"


def _type_of(path: str) -> str:
    kind = _TYPES.get(path.rpartition(".")[2].lower())
    if kind is None:
        raise UnreadableError("only .yaml, .yml and .json files are supported")
    return kind


def _kinds(metadata: MappingNode) -> Iterator[str]:
    """The kinds of keys that the metadata of a file lists, in groups too."""
    for name, (_, node) in metadata.items.items():
        if name == "key_groups" and isinstance(node, Sequence):
            for group in node.items:
                yield from _kinds(group) if isinstance(group, MappingNode) else ()
        elif isinstance(node, Sequence | MappingNode) and _has_items(node):
            yield name


def _has_items(node: Node) -> bool:
    return isinstance(node, Sequence | MappingNode) and bool(node.items)
