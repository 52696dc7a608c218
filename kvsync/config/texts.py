"""Reads the texts of the configuration and of its overlay, from disk or from a revision."""

from __future__ import annotations

from pathlib import Path

from kvsync.config.layers import overlay_paths
from kvsync.config.revision import ConfigDraft, ConfigRevision
from kvsync.errors import InvalidInput, Kind, Origin, Problem


class ConfigTexts:
    """Source of the texts of one configuration: a revision, a draft, or the disk. On disk, all links of the folder are resolved
    once, so that configuration and overlay come from one version of the folder. `shown` is the path for messages. Without
    `links`, a file that is a symbolic link is refused."""

    def __init__(
        self, file: Path, shown: Path, instead: ConfigRevision | ConfigDraft | None, *, links: bool = True
    ) -> None:
        self._file, self._shown, self._links = file, shown, links
        self._revision = instead if isinstance(instead, ConfigRevision) else None
        self._draft = instead if isinstance(instead, ConfigDraft) else None
        self._folder: Path | None = None

    def name(self, file: Path) -> str:
        """The name of a file in messages."""
        return file.name if self._revision is None else f"{self._revision.name}:{file.name}"

    def main(self) -> bytes:
        """The text of the configuration. Raises InvalidInput."""
        text = self._text(self._file)
        if text is not None:
            return text
        if self._revision is None:
            message, hint = (
                f"{self._shown}: no such configuration file",
                "create one with kvsync init, or pass its path with -c",
            )
        else:
            message = f"{self._revision.name} does not contain {self._file.name}"
            hint = "merge the configuration first, so that state files can be checked against it"
        raise InvalidInput([Problem(message, hint=hint, kind=Kind.UNREADABLE)])

    def overlay(self, environment: str | None) -> tuple[Path, bytes] | None:
        """The path and text of the overlay of an environment; None when there is none. Raises InvalidInput for one that cannot
        be read, and for two of them."""
        paths = overlay_paths(self._file, environment)
        found = [(path, text) for path in paths if (text := self._text(path)) is not None]
        if len(found) > 1:
            message = f"a second overlay of {self._file.name}, next to {found[0][0].name}"
            place = Origin(self.name(found[1][0]), 1, 1)
            raise InvalidInput([Problem(message, place, "remove one", Kind.CONTRADICTION)])
        return found[0] if found else None

    def _text(self, file: Path) -> bytes | None:
        if self._draft is not None and file == self._file:
            return self._draft.text
        if self._revision is not None:
            return self._revision.files.get(file.name)
        if not self._links and file.is_symlink():
            message = f"{self._shown.with_name(file.name)}: is a symbolic link, which is not followed with --as-author"
            raise InvalidInput([Problem(message, hint="make it a file", kind=Kind.UNREADABLE)])
        try:
            self._folder = self._folder or self._file.parent.resolve()
            return (self._folder / file.name).read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            reason = error.strerror if isinstance(error, OSError) else "its symbolic links form a loop"
            shown = self._shown.with_name(file.name)
            problem = Problem(f"{shown}: cannot read the configuration: {reason}", kind=Kind.UNREADABLE)
            raise InvalidInput([problem]) from None
