"""An image of kvsync, built from the Dockerfile on a bootstrapped Debian, and what runs in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.parts import ROOT, must, run

_BUILD = ("bud", "--quiet", "--isolation", "chroot", "--pull-never")
KVSYNC = "/opt/kvsync/bin/kvsync"
_UID = 65532
_PIP = "[global]\nno-index = true\nfind-links = /wheels\n"


@dataclass(frozen=True, slots=True)
class Images:
    """A place for images that is all our own, and goes with its folder."""

    folder: Path
    driver: str = "overlay"

    def buildah(self, *arguments: str | Path) -> str:
        """Run buildah. Gives what it wrote to stdout, without the last newline."""
        storage = ("--root", self.folder / "graph", "--runroot", self.folder / "run", "--storage-driver", self.driver)
        return must("buildah", *storage, *arguments).rstrip("\n")

    def base(self, system: Path) -> str:
        """Make an image of a folder. Gives its name."""
        context = self.folder / "base"
        context.mkdir(parents=True)
        must("tar", "-C", system, "-cf", context / "base.tar", ".")
        (context / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        self.buildah(*_BUILD, "-t", "localhost/base", context)
        (context / "base.tar").unlink()
        return "localhost/base"

    def build(self, base: str, wheels: Path, **arguments: str) -> str:
        """Build our Dockerfile on a base, with packages from a folder of wheels. Gives the name of the image."""
        (self.folder / "pip.conf").write_text(_PIP)
        given = [f"--build-arg={name}={value}" for name, value in {"BASE": base, **arguments}.items()]
        volumes = (f"--volume={wheels}:/wheels:ro", f"--volume={self.folder}/pip.conf:/etc/pip.conf:ro")
        self.buildah(*_BUILD, "--format=docker", *given, *volumes, "-t", "localhost/kvsync", ROOT)
        return "localhost/kvsync"

    def config(self, image: str) -> dict[str, Any]:
        """What the image says about itself."""
        storage = f"[{self.driver}@{self.folder}/graph+{self.folder}/run]"
        text = must("skopeo", "inspect", "--config", "--raw", f"containers-storage:{storage}{image}")
        found: dict[str, Any] = json.loads(text)
        return found

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The files of a container made of the image."""
        container = self.buildah("from", "--pull-never", image)
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("umount", container)
            self.buildah("rm", container)


@dataclass(frozen=True, slots=True)
class Container:
    """A root mounted read-only, user and environment of the image, a configuration to read, a state directory to write."""

    root: Path
    environment: tuple[str, ...]
    config: Path
    state: Path

    @property
    def command(self) -> list[str]:
        """What a command line in the container begins with; the command is process 1, and nothing else runs."""
        mounts = (f"--bind-ro={self.config}:/config", f"--bind={self.state}:/var/lib/kvsync", "--tmpfs=/tmp")
        environment = [f"--setenv={each}" for each in self.environment]
        how = ("--quiet", "--register=no", "--keep-unit", "--private-network", "--read-only", "--user=kvsync")
        return [
            "systemd-nspawn", *how, *mounts, *environment, "--chdir=/config",
            f"--directory={self.root}", "--console=pipe",
        ]  # fmt: skip

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of its own."""
        return run(*self.command, *command)

    def kvsync(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kvsync in a container of its own."""
        return self.run(KVSYNC, *arguments)

    @classmethod
    def prepare(cls, root: Path, environment: Sequence[str], folder: Path, files: dict[str, str]) -> Container:
        """A container with these files for its configuration."""
        for name, text in files.items():
            file = folder / "config" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        state = folder / "state"
        state.mkdir(mode=0o700)
        must("chown", f"{_UID}:{_UID}", state)
        return cls(root, tuple(environment), folder / "config", state)
