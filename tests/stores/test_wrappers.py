"""Wrappers of stores: they have the extensions of the store they wrap, and only those."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import InitVar, dataclass

import pytest

from kvsync.errors import PermanentError
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store
from kvsync.stores.extensions import (
    EXTENSIONS,
    MEMBERS,
    NamespaceDeleting,
    NamespaceRenaming,
    NestedNamespaces,
    RestorePointMaking,
    as_ledger_keeping,
    has_extension,
    locate,
    observe_deep,
    quota_left,
    scan,
    unchanged,
    version_hints,
)
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.read_only import ReadOnlyStore
from kvsync.stores.traced import TracedStore
from kvsync.stores.wrapper import StoreWrapper
from kvsync.testing import memory_store
from tests.support.places import subject_of

ELSEWHERE = Place("test", (("server", "by its id"),))
SIGNER = subject_of(memory_store(), Target("main", "web"), "team-a").signer


class ExtendedStore(MemoryStore):
    """A store with all extensions."""

    keeps_ledger = lists_sizes = deletes_namespaces = filters_listing = True
    restore_point_requests = 1

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """Another place than that of the configuration."""
        return ELSEWHERE

    async def unchanged(self, tokens: Mapping[str, str]) -> Mapping[str, Place]:
        """Every token is current."""
        return dict.fromkeys(tokens, ELSEWHERE)

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        """Every entry is in the same other namespace."""
        return "inner"

    def quota_left(self) -> int | None:
        """Always the same."""
        return 5

    def is_namespace_id(self, namespace: str) -> bool:
        """Every namespace has a name."""
        return False

    def why_namespace_stays(self, namespace: str) -> str | None:
        """Every namespace can be deleted."""
        return None

    async def delete_namespace(self, namespace: str, place: Place) -> str | None:
        """Every namespace is gone."""
        return None

    def can_rename(self, namespace: str, name: str) -> bool:
        """Every namespace can be renamed."""
        return True

    async def rename_namespace(self, namespace: str, name: str, place: Place) -> str | None:
        """Every namespace is renamed."""
        return None

    async def begin_restore_point(self, namespace: str, run: str) -> str:
        """Named as the run."""
        return run

    async def complete_restore_point(self, namespace: str, name: str) -> bool:
        """Complete at once."""
        return True

    async def remote_keys(self) -> Sequence[str]:
        """One key of no namespace."""
        return ["stray"]

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """Nothing exists."""
        return {}

    async def watch(self, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Report one change."""
        changed("web")


@dataclass
class NamedStore(StoreWrapper):
    """A store that is equal to another one with the same name, as dataclasses are, and not hashable for that reason."""

    name: str
    wrapped: InitVar[Store]

    def __post_init__(self, wrapped: Store) -> None:
        super().__init__(wrapped)


class BareStore(StoreWrapper):
    """A store without extensions."""

    def _take_over(self, members: frozenset[str]) -> None:
        return


def extended() -> ExtendedStore:
    plain = memory_store()
    return ExtendedStore(plain.config, plain.context)


@pytest.mark.parametrize("wrapper", [StoreWrapper, ReadOnlyStore, TracedStore])
async def test_wrapper_has_the_extensions_of_its_store(wrapper: type[StoreWrapper]) -> None:
    """What the store offers is found on its wrapper too, also on a wrapper of a wrapper, and leads to the store."""
    inner = extended()
    await inner.write_ledger("web", b"{}")
    store = TracedStore(wrapper(inner))
    assert [extension.__name__ for extension in EXTENSIONS if not isinstance(store, extension)] == []
    assert await locate(store, "web") == ELSEWHERE
    assert await unchanged(store, {"web": "1"}) == {"web": ELSEWHERE}
    assert await observe_deep(store, "web", SIGNER) is not None
    assert await scan(store, "web", SIGNER, [], []) == {}
    assert quota_left(store) == 5
    assert version_hints(store).may_be_version("5", "5:ab")
    assert isinstance(store, NestedNamespaces)
    assert store.nested_namespace("web", Identity("a"), ()) == "inner"
    keeper = as_ledger_keeping(store)
    assert keeper is not None
    assert await keeper.read_ledger("web") == b"{}"


async def test_read_only_store_refuses_to_write_a_ledger_and_to_change_a_namespace() -> None:
    """A read-only store refuses these as it refuses other writes."""
    keeper = as_ledger_keeping(TracedStore(ReadOnlyStore(extended())))
    assert keeper is not None
    with pytest.raises(PermanentError, match="the ledger was not changed"):
        await keeper.write_ledger("web", b"{}")
    assert await keeper.read_ledger("web") is None
    assert isinstance(keeper, NamespaceDeleting)
    with pytest.raises(PermanentError, match="the namespace was not deleted"):
        await keeper.delete_namespace("web", ELSEWHERE)
    assert isinstance(keeper, NamespaceRenaming)
    with pytest.raises(PermanentError, match="the namespace was not renamed"):
        await keeper.rename_namespace("web", "shop", ELSEWHERE)
    assert isinstance(keeper, RestorePointMaking)
    with pytest.raises(PermanentError, match="no restore point was made"):
        await keeper.begin_restore_point("web", "run")


async def test_store_without_extensions_gets_the_defaults() -> None:
    """Without extensions the place is that of the configuration, there is no deep listing, no ledger and no quota, and etags
    are compared as they are; wrappers do not add any."""
    bare: Store = BareStore(extended())
    for store in (bare, ReadOnlyStore(bare), TracedStore(bare)):
        assert await locate(store, "web", writing=True) == store.place("web")
        assert await unchanged(store, {"web": "1"}) == {}
        assert await observe_deep(store, "web", SIGNER) is None
        assert (as_ledger_keeping(store), quota_left(store)) == (None, None)
        hints = version_hints(store)
        assert (hints.may_be_version("5", "5:ab"), hints.redacted_etag("5:ab")) == (False, "5:ab")


async def test_equal_stores_need_not_be_hashable_or_have_the_same_extensions() -> None:
    """What kvsync learns of a store is kept for that object, also if the class makes it equal to another one."""
    with_quota, without = NamedStore("main", extended()), NamedStore("main", BareStore(extended()))
    assert with_quota == without
    assert (quota_left(with_quota), quota_left(without), quota_left(with_quota)) == (5, None, 5)
    assert await locate(without, "web") == without.place("web")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_store_has_an_extension_if_it_has_all_its_members(extension: type) -> None:
    """The quick question and `isinstance` agree, also about a store that has only some of the members."""
    store = memory_store()
    names = sorted(MEMBERS[extension])
    bare = BareStore(store)
    assert has_extension(bare, extension) == isinstance(bare, extension)
    for count in range(len(names)):
        partly = BareStore(store)
        for name in names[:count]:
            setattr(partly, name, lambda: None)
        assert has_extension(partly, extension) == isinstance(partly, extension), names[:count]
    assert has_extension(extended(), extension)
    assert isinstance(extended(), extension)
