"""Capabilities of a store type, read by the planner, `validate`, the docs and the conformance suite."""

from __future__ import annotations

from enum import StrEnum

from kvsync.util.values import dataclass


class Lifetimes(StrEnum):
    """What deletes an expired entry: the store itself, or the daemon if the store cannot."""

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
    """One frozen value per store type. Sizes are in bytes, or in `key_unit` and `value_unit` for keys and values; times are in
    seconds; None means no limit.

    `key_pattern` is a regular expression that the whole remote key must match, and `namespace_pattern` one for the namespace.
    `binary` means that a value may be something other than UTF-8 text. `implied_types` means that the store keeps a content
    type even if only the form of the value implies it (`json:`).

    `batch` is the maximum number of writes in one call of `Store.write`, `page` the number of entries in one listing request,
    and `read_batch` the number of entries in one read; `read_page` is how many of these one request returns, if that is fewer.
    `settle` is how long a listing may be out of date after a write.

    `sensitive` means that the store is made for secrets: all its entries are sensitive. With `always_expires`, kvsync gives an
    entry without a TTL the lifetime `max_ttl`, and renews it forever. `flag_prefix` is the prefix of the remote keys of feature
    flags, None if the store has no feature flags. `descriptions` means that an entry may have a description, which other
    writers may change.
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
        """Seconds after which every entry in the store expires; None if entries can stay."""
        return self.max_ttl if self.always_expires else None
