"""Store types by name: built in, and from packages that are really installed, good and bad ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError
from kvsync.model.entry import Target
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.registry import BUILTIN, UnknownStoreType, open_store, store_class, store_types
from kvsync.util.clock import Clock
from tests.support.places import signer_of

SIGNER = signer_of(Target("main", "web"), "me")

GOOD = """
from kvsync.stores.memory.store import MemoryStore

class CarrierPigeon(MemoryStore):
    "A store of another package."
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages can be installed into."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, package: str, entry_points: str, source: str = GOOD) -> str:
    """Install a package with one module and these entry points, as pip leaves it; gives the module's name."""
    module = package.replace("-", "_")
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[kvsync.stores]\n{entry_points}\n")
    (info / "RECORD").write_text("")
    sys.modules.pop(module, None)
    return module


@pytest.mark.parametrize("type_name", sorted(BUILTIN))
def test_built_in_types_are_complete(type_name: str) -> None:
    """Each built-in type is a store that declares capabilities under its own name, and options that describe themselves."""
    found = store_class(type_name)
    assert issubclass(found, Store)
    assert found.capabilities.type == type_name
    assert all(field.help and field.schema() for field in found.options)


def test_types_are_reported_in_order() -> None:
    """All types are reported, sorted."""
    assert list(store_types()) == sorted(store_types())
    assert set(BUILTIN) <= set(store_types())


def test_an_unknown_type_is_reported() -> None:
    """An unknown type is named, together with the types that there are."""
    with pytest.raises(UnknownStoreType, match=r'"sqlight"; known types are .*\bmemory, .*sqlite'):
        store_class("sqlight")


def test_an_installed_type_is_found(site: Path, tmp_path: Path) -> None:
    """A type that an installed package offers is reported, loaded and opened like a built-in one."""
    install(site, "kvsync-pigeon", "carrier-pigeon = kvsync_pigeon:CarrierPigeon")
    assert "carrier-pigeon" in store_types()
    assert store_class("carrier-pigeon").__name__ == "CarrierPigeon"
    store = open_store(StoreConfig("loft", "carrier-pigeon", {}), StoreContext(tmp_path, None, str, Clock()))
    assert isinstance(store, MemoryStore)


def test_types_are_imported_only_when_asked_for(site: Path) -> None:
    """Telling the types, or loading another one, imports nothing of an installed package."""
    module = install(site, "kvsync-broken", "broken = kvsync_broken:Store", "raise RuntimeError('imported')")
    assert "broken" in store_types()
    assert store_class("memory") is MemoryStore
    assert module not in sys.modules


def test_a_built_in_type_cannot_be_replaced(site: Path) -> None:
    """A package that offers a type under a built-in name does not get in its way."""
    install(site, "kvsync-pigeon", "memory = kvsync_pigeon:CarrierPigeon")
    assert store_class("memory") is MemoryStore


@pytest.mark.parametrize(
    ("source", "place", "reason"),
    [
        ("import no_such_module_at_all", "Pigeon", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise RuntimeError('out of grain')", "Pigeon", "RuntimeError: out of grain"),
        ("def broken(:", "Pigeon", "SyntaxError"),
        (GOOD, "NoSuchPigeon", "AttributeError"),
        ("class Pigeon: pass", "Pigeon", "is not a subclass of kvsync.stores.base.Store"),
        ("Pigeon = 5", "Pigeon", "is not a subclass of kvsync.stores.base.Store"),
        (
            "from kvsync.stores.base import Store\nclass Pigeon(Store): pass",
            "Pigeon",
            "does not implement namespaces, observe, read, write",
        ),
        (GOOD + "class Pigeon(CarrierPigeon):\n    capabilities = None", "Pigeon", "has no capabilities"),
    ],
)
def test_a_broken_package_is_reported(site: Path, source: str, place: str, reason: str) -> None:
    """A package whose type cannot be had is named with its version, the reason, and no traceback of its own."""
    install(site, "kvsync-broken", f"broken = kvsync_broken:{place}", source)
    with pytest.raises(PermanentError) as caught:
        store_class("broken")
    assert 'store type "broken" of the package kvsync-broken 1.2' in str(caught.value)
    assert reason in str(caught.value)


def test_two_packages_with_one_type_are_reported(site: Path) -> None:
    """Two packages that offer the same type are both named; neither is taken."""
    install(site, "kvsync-one", "pigeon = kvsync_one:CarrierPigeon")
    install(site, "kvsync-two", "pigeon = kvsync_two:CarrierPigeon")
    with pytest.raises(PermanentError, match=r"kvsync-one 1\.2, kvsync-two 1\.2.*uninstall all but one"):
        store_class("pigeon")


async def test_a_read_only_context_gives_a_store_that_cannot_write(tmp_path: Path) -> None:
    """Whatever its type, a store that is opened read-only refuses to write, and passes on everything else."""
    context = StoreContext(tmp_path, None, str, Clock(), read_only=True)
    store = open_store(StoreConfig("local", "memory", {}), context)
    with pytest.raises(PermanentError, match="read-only"):
        await store.write("web", [])
    snapshot = await store.observe("web", SIGNER)
    assert snapshot is not None
    assert not snapshot.entries
    assert store.capabilities == MemoryStore.capabilities
    assert store.traffic.requests == 1
