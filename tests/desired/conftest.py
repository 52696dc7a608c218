"""A repository on disk, loaded with the real configuration and real stores."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.config.model import Config
from kvsync.desired import Cache, DesiredState, Source
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Content, Entry, Identity, Target
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.memory.store import MemoryStore
from kvsync.util.clock import Clock

CONFIG = """\
version: 1
owner: us
state: ["state/**/*.yaml"]
environments: [dev, prod]
stores:
  edge: {type: memory}
  core: {type: memory}
policy: {prune: owned}
authors: {env: ["*"]}
"""
WEB = Target("edge", "web")


@dataclass
class Repo:
    """A configuration and its state files. Every store is of `kind`, with these `capabilities`."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    capabilities: Capabilities = MemoryStore.capabilities
    kind: type[MemoryStore] = MemoryStore
    cache: Path | None = None
    secret: bytes | None = b"k" * 32
    opened: Source | None = None

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a file; text is dedented."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return file

    def web(self, rest: str, path: str = "state/web.yaml") -> Path:
        """Write a state file of the target edge/web."""
        return self.write(path, "store: edge\nnamespace: web\n" + textwrap.dedent(rest))

    def parts(self) -> tuple[Config, dict[str, Store]]:
        """The configuration as it is now, and its stores."""
        config = read_config(self.root / "kvsync.yaml", environ={})
        context = StoreContext(self.root, None, lambda _: "", Clock())
        stores: dict[str, Store] = {
            name: self.kind(item, context, capabilities=self.capabilities) for name, item in config.stores.items()
        }
        return config, stores

    def source(self) -> Source:
        """A new source over the files."""
        if self.opened is not None:
            self.opened.close()
        config, stores = self.parts()
        self.opened = Source(config, stores, Cache(self.cache, self.secret), self.environ)
        return self.opened

    def load(self, environment: str | None = None) -> DesiredState:
        """Load once, with a new source."""
        return self.source().load(environment)

    def entries(self, target: Target = WEB, environment: str | None = None) -> dict[Identity, Entry]:
        """The entries of a target; nothing may be wrong."""
        loaded = self.load(environment)
        assert [str(problem) for problem in loaded.problems] == []
        return dict(loaded.targets[target].entries)

    def entry(self, key: str, label: str | None = None) -> Entry:
        """One entry of edge/web."""
        return self.entries()[Identity(key, label)]

    def content(self, key: str, label: str | None = None) -> Content:
        """The content of one entry of edge/web."""
        return self.entry(key, label).content

    def values(self, target: Target = WEB, environment: str | None = None) -> dict[str, str]:
        """Identity to value, as text."""
        return {
            str(identity): entry.content.value.decode() for identity, entry in self.entries(target, environment).items()
        }

    def problems(self, environment: str | None = None) -> list[str]:
        """What is wrong, as people read it."""
        return [str(problem) for problem in self.load(environment).problems]


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    """An empty repository with a configuration of two stores, edge and core."""
    made = Repo(tmp_path)
    made.write("kvsync.yaml", CONFIG)
    yield made
    if made.opened is not None:
        made.opened.close()
