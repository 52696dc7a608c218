"""Files of other programs that complete the configuration of a store, such as the ids in a `wrangler.toml`.

They lie in the folder of the configuration and are part of it: the daemon watches them, and a broken file makes the
configuration invalid. Anyone who can change such a file can change the options that it sets. So it is not read if
`authors.targets` restricts state files that may lie next to it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from kvsync.config.revision import ConfigRevision
from kvsync.config.stores import Inclusion, WrittenStore
from kvsync.util.beneath import open_beneath
from kvsync.yaml.fields import Problems, quoted

_LARGEST: Final = 2**20
"""Bytes of an included file."""


class IncludedFiles:
    """Reads the included files of one configuration from the folder `root`, each once; `files` are the texts of those that were
    read. `is_restricted` says that `authors.targets` restricts those who may be able to change them."""

    def __init__(self, root: Path, revision: ConfigRevision | None, problems: Problems, *, is_restricted: bool) -> None:
        self._root, self._revision, self._problems, self._is_restricted = root, revision, problems, is_restricted
        self.files: dict[Path, bytes] = {}

    def complete(self, stores: Mapping[str, WrittenStore]) -> dict[str, WrittenStore]:
        """The stores with what their included files say. Problems are noted."""
        return {name: self._completed(f"stores.{name}", store) for name, store in stores.items()}

    def _completed(self, what: str, store: WrittenStore) -> WrittenStore:
        for one in store.inclusions:
            try:
                text = self._text(one)
                store = replace(store, options={**store.options, **one.read(text, store.options)})
            except ValueError as problem:
                self._problems.add(f"{what}.{one.field}: {problem}", one.node)
        return store

    def _text(self, one: Inclusion) -> bytes:
        """The content of a file. Raises ValueError, with the reason."""
        shown = quoted(one.path)
        if self._is_restricted:
            why = f"because whoever can change {shown} decides where names lead"
            raise ValueError(f"cannot be used with authors.targets, {why}; write what it sets in kvsync.yaml")
        if self._revision is not None:
            raise ValueError(f"cannot be read as of {self._revision.name}; write what it sets in kvsync.yaml")
        file = self._root / one.path
        if file not in self.files:
            try:
                self.files[file] = _read(self._root, os.path.normpath(one.path))
            except OSError as error:
                raise ValueError(f"cannot read {shown}: {_reason(error)}") from None
        return self.files[file]


def _read(root: Path, path: str) -> bytes:
    folder = os.open(root.resolve(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With an opener, `open` closes the descriptor also if it refuses it, as it does for a folder.
        with open(path, "rb", opener=lambda name, flags: open_beneath(folder, name, flags | os.O_NONBLOCK)) as file:
            text = file.read(_LARGEST + 1)
    finally:
        os.close(folder)
    if len(text) > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return text


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "symbolic links are not followed"
    if error.errno == errno.EINVAL:
        return "it is not in the folder of the configuration"
    return error.strerror or "it cannot be opened"
