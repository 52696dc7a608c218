"""Runner for the `git` program: no shell, no user settings, a timeout, and no orphaned processes.

Nothing of the user, the system or the repository decides what runs: system and user configuration are replaced by our own file,
hooks, filters, submodules and helpers are off, only the protocol of the address is allowed, and nobody is asked for anything.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kvsync.errors import ErrorCode, SourceError

OLDEST: Final = (2, 34)
"""The oldest git that knows how to be kept from other settings, and SSH signatures."""

_MOST_OUTPUT: Final = 64 * 2**20
_MOST_ERRORS: Final = 64 * 2**10
_GRACE: Final = 1.0  # seconds that git has to remove its temporary files when it is stopped

_PASSED_ON: Final = (
    "PATH", "TMPDIR", "SSH_AUTH_SOCK", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "all_proxy", "no_proxy", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""Variables that say how to reach the network; nothing else of the environment gets through."""

SETTINGS: Final = """\
[core]
	hooksPath = /dev/null
	fsmonitor = false
	autocrlf = false
	fsync = all
	protectHFS = true
	protectNTFS = true
[safe]
	directory = *
	bareRepository = explicit
[advice]
	graftFileDeprecated = false
[protocol]
	allow = never
[credential]
	helper =
[http]
	followRedirects = false
	lowSpeedLimit = 1
	lowSpeedTime = 30
[transfer]
	bundleURI = false
[fetch]
	recurseSubmodules = false
[submodule]
	recurse = false
[gc]
	autoDetach = false
[maintenance]
	autoDetach = false
[gpg]
	minTrustLevel = fully
[gpg "x509"]
	program = false
"""
"""`safe.directory`: the only repositories that are opened are our clone, and the ones that are named to git. A folder that
looks like a bare repository is never one: files of a commit can look so."""


class GitFailed(Exception):
    """git ended with a code that was not expected. `text` is what it said, without secrets."""

    def __init__(self, verb: str, code: int, text: str) -> None:
        self.verb, self.code, self.text = verb, code, text.strip()
        super().__init__(f"git {verb} exited with {code}: {self.text}")


class TooMuchOutput(SourceError):
    """git printed more than fits in memory."""

    code = ErrorCode.SOURCE_TOO_LARGE


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    output: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git. `settings` is the file that stands in for all configuration; `timeout` is in seconds, `max_size` in bytes
    bounds each file that git writes. `held` are descriptors that the commands keep open: a lock lasts as long as they do."""

    program: str
    settings: Path
    environ: Mapping[str, str]
    redact: Callable[[str], str]
    timeout: float
    max_size: int
    held: tuple[int, ...] = field(default=())

    async def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        codes: Container[int] = (0,),
    ) -> Done:
        """Run one command in `folder`, with `env` besides the usual variables. Raises GitFailed for a code that is not among
        `codes`, SourceError when it takes too long or says too much."""
        verb = next((word for word in arguments if not word.startswith("-")), "")
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            cwd=folder or self.settings.parent,
            env=self._environment() | dict(env or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=self.held,
        )
        try:
            self._bound(process.pid)
            done = await self._finish(process, verb)
        finally:
            await _end(process)
        if done.code not in codes:
            raise GitFailed(verb, done.code, done.text)
        return done

    async def _finish(self, process: asyncio.subprocess.Process, verb: str) -> Done:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(self.timeout):
                errors = asyncio.ensure_future(_beginning(process.stderr, _MOST_ERRORS))
                try:
                    output = await _read(process.stdout, _MOST_OUTPUT)
                    if output is None:
                        printed = f"git {verb} printed more than {_MOST_OUTPUT // 2**20} MiB"
                        raise TooMuchOutput(printed, "set source.git.path to a smaller folder")
                    text = await errors
                finally:
                    errors.cancel()
                code = await process.wait()
        except TimeoutError:
            raise SourceError(f"git {verb} took longer than {self.timeout:g} s", "raise source.git.timeout") from None
        return Done(code, output, self.redact(text.decode("utf-8", "replace")))

    def _environment(self) -> dict[str, str]:
        known = {name: self.environ[name] for name in _PASSED_ON if name in self.environ}
        nowhere = str(self.settings.parent / "nobody")
        return {
            "PATH": os.defpath,
            **known,
            "HOME": nowhere,
            "XDG_CONFIG_HOME": nowhere,
            "GNUPGHOME": nowhere,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.settings),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_GRAFT_FILE": os.devnull,
            "GIT_CEILING_DIRECTORIES": str(self.settings.parent.parent),
            "GIT_OPTIONAL_LOCKS": "0",
        }

    def _bound(self, process: int) -> None:
        """Let no file grow beyond what is allowed, so that a hostile repository cannot fill the disk."""
        if hasattr(resource, "prlimit"):  # Linux
            with suppress(OSError):
                _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
                limit = self.max_size if most == resource.RLIM_INFINITY else min(self.max_size, most)
                resource.prlimit(process, resource.RLIMIT_FSIZE, (limit, limit))


async def find_git(environ: Mapping[str, str]) -> tuple[str, tuple[int, ...]]:
    """The path of the git program, and its version. Raises SourceError when there is none that serves."""
    program = shutil.which("git", path=environ.get("PATH", os.defpath))
    if program is None:
        raise SourceError("git is not installed", "install git; source.git needs the git command")
    process = await asyncio.create_subprocess_exec(
        program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    numbers = [part for part in output.decode("ascii", "replace").split() if part[:1].isdigit()]
    version = tuple(int(part) for part in numbers[0].split(".") if part.isdigit()) if numbers else ()
    if version < OLDEST:
        raise SourceError(
            f"git {numbers[0] if numbers else '?'} is too old", f"install git {OLDEST[0]}.{OLDEST[1]} or later"
        )
    return program, version


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes | None:
    """Everything that the stream gives; None as soon as that is more than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(2**16):
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


async def _beginning(stream: asyncio.StreamReader, limit: int) -> bytes:
    """The first `limit` bytes that the stream gives. It is read to its end, so that nobody waits to write more."""
    start = b""
    while part := await stream.read(2**16):
        start += part[: limit - len(start)]
    return start


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no process of the group behind: git starts others."""
    if process.returncode is None:
        _signal(process.pid, signal.SIGTERM)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await process.wait()
        finally:
            _signal(process.pid, signal.SIGKILL)
        await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
