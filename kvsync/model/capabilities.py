"""Capabilities of a store type, read by the planner, `validate`, the docs and the conformance suite."""

from __future__ import annotations

from enum import StrEnum

from kvsync.util.values import dataclass


class Lifetimes(StrEnum):
    """Who deletes an expired entry: the store itself, or the daemon, because the store cannot."""

    NATIVE = "native"
    EMULATED = "emulated"


class Marks(StrEnum):
    """Where marks are kept: next to the entry, or in the ledger of the state directory."""

    STORE = "store"
    LEDGER = "ledger"


class SizeUnit(StrEnum):
    """Unit in which the size of a key or a value is limited."""

    BYTES = "bytes"
    CHARACTERS = "characters"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One frozen value per store type. Sizes are in bytes, those of keys and values in `key_unit` and `value_unit`, times in
    seconds; None means no limit.

    `key_pattern` is a regular expression that the whole remote key must match, `namespace_pattern` one for the namespace;
    `binary` says whether a value may be anything but UTF-8 text; `implied_types` whether a content type is worth keeping that
    only follows from how a value is written (`json:`). `batch` is how many writes one call of `Store.write` may carry, `page`
    how many entries one listing request brings, `read_batch` how many one read brings, and `read_page` how many of these one
    request brings where that is fewer. `sensitive` says that the store is made for secrets: all its entries are sensitive.
    `settle` is how long a listing may show the past after a write. `max_ttl` with `always_expires` means that an entry without
    a TTL is renewed forever. `flag_prefix` is what the remote keys of feature flags begin with; None where the store has no
    feature flags. `descriptions` says that an entry may have a text that describes it, which other writers may change.
    """

    type: str
    namespace: str
    marks: Marks = Marks.STORE
    compare_and_set: bool = True
    labels: bool = True
    content_type: bool = True
    implied_types: bool = True
    tags: bool = True
    metadata: bool = True
    descriptions: bool = False
    binary: bool = True
    lifetimes: Lifetimes = Lifetimes.NATIVE
    min_ttl: int = 1
    max_ttl: int | None = None
    always_expires: bool = False
    max_key: int | None = None
    key_unit: SizeUnit = SizeUnit.BYTES
    key_pattern: str | None = None
    namespace_pattern: str | None = None
    max_value: int | None = None
    value_unit: SizeUnit = SizeUnit.BYTES
    max_entry: int | None = None
    max_metadata: int | None = None
    batch: int = 1
    max_batch_bytes: int | None = None
    read_batch: int = 1
    read_page: int | None = None
    page: int = 1000
    concurrency: int = 8
    values_in_listing: bool = True
    sensitive: bool = False
    settle: float = 0
    writes_per_second: float | None = None
    flag_prefix: str | None = None

    @property
    def longest(self) -> int | None:
        """Seconds after which the store ends whatever it holds; None where entries may stay."""
        return self.max_ttl if self.always_expires else None
