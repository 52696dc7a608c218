"""Two machines, one ledger: each line of the table in `kvsync.ledger.merge`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.ledger.document import LedgerRow
from kvsync.ledger.merge import Rows, left_as_is, merge
from kvsync.model.entry import Identity
from kvsync.planning.sealing import SealingKeys, name_of, sealing_keys

X = Identity("x")
KEYS = SealingKeys(lambda: b"k" * 32)
ONE, TWO, THREE = (LedgerRow(bytes([number]) * 16, etag=str(number)) for number in (1, 2, 3))


def merged(
    ours: LedgerRow | None,
    known: list[LedgerRow | None],
    theirs: LedgerRow | None,
    there: LedgerRow | None = None,
) -> LedgerRow | None:
    """What counts for the entry x; `there` is the row that describes what the store holds."""
    rows = [{} if row is None else {X: row} for row in (ours, theirs)]
    found = merge(
        rows[0], [{} if row is None else {X: row} for row in known], rows[1], lambda _, row: row == there, KEYS
    )
    return found.get(X)


def test_what_is_the_same_is_kept_in_our_words() -> None:
    """A row that says the same under another seal leaves ours, which can be compared."""
    ours = LedgerRow(b"a" * 16, sensitive=True, seal="a")
    theirs = LedgerRow(b"b" * 16, sensitive=True, seal="b")
    assert merged(ours, [], theirs) == ours


def test_what_we_did_not_touch_is_as_the_store_says() -> None:
    """Another machine updated, deleted or made an entry, and we did nothing."""
    assert merged(ONE, [ONE], TWO) == TWO
    assert merged(ONE, [ONE], None) is None
    assert merged(None, [None], TWO) == TWO
    assert merged(None, [], TWO) == TWO


def test_what_we_wrote_and_could_not_leave_is_ours() -> None:
    """A pass was killed between the entries and the ledger."""
    assert merged(TWO, [ONE], ONE) == TWO
    assert merged(TWO, [None], None) == TWO
    assert merged(TWO, [], None) == TWO
    assert merged(None, [ONE], ONE) is None


def test_what_was_made_again_after_we_deleted_it_is_theirs() -> None:
    """Our delete does not reach beyond the entry that it deleted."""
    assert merged(None, [ONE], TWO) == TWO


def test_an_older_ledger_written_over_ours_takes_nothing_away() -> None:
    """Another machine that had read before us wrote after us: what we left is left again."""
    assert merged(TWO, [ONE, TWO], ONE, TWO) == TWO
    assert merged(TWO, [None, TWO], None, TWO) == TWO
    assert merged(None, [ONE, None], ONE) is None


def test_an_older_state_that_came_back_is_theirs() -> None:
    """Another machine took our update back, which leaves its row as it was before: the entry itself tells."""
    assert merged(TWO, [ONE, TWO], ONE, ONE) == ONE


def test_what_was_changed_and_changed_back_is_ours() -> None:
    """An entry that we deleted and restored is as it was first known, and ours all the same."""
    assert merged(ONE, [ONE, None], None) == ONE


def test_of_two_changes_the_one_that_is_there_counts() -> None:
    """Where both machines wrote, the entry tells whose it is; in doubt the store's ledger counts."""
    assert merged(TWO, [ONE], THREE, TWO) == TWO
    assert merged(TWO, [ONE], THREE, THREE) == THREE
    assert merged(TWO, [ONE], THREE) == THREE
    assert merged(TWO, [ONE], None, TWO) == TWO
    assert merged(TWO, [ONE], None) is None


rows = st.dictionaries(st.sampled_from([Identity("a"), X]), st.sampled_from([ONE, TWO, THREE]))


@given(rows, rows, rows)
def test_a_row_that_counts_is_ours_or_the_stores(ours: Rows, known: Rows, theirs: Rows) -> None:
    """Nothing is made up, and where both agree nothing else counts."""
    found = merge(ours, [known], theirs, lambda _identity, _row: False, KEYS)
    assert all(row in (ours.get(identity), theirs.get(identity)) for identity, row in found.items())
    assert merge(ours, [known], ours, lambda _identity, _row: False, KEYS) == ours


def test_a_ledger_is_left_in_its_own_words() -> None:
    """What says the same as the document is written as it stands there, so that machines with two keys write nothing by
    turns."""
    ours = LedgerRow(b"a" * 16, sensitive=True, seal="a", etag="1")
    theirs = ours._replace(fingerprint=b"b" * 16, seal="b")
    assert left_as_is({X: ours}, {X: theirs}, KEYS) == {X: theirs}
    assert left_as_is({X: ours._replace(etag="2")}, {X: theirs}, KEYS) == {X: ours._replace(etag="2")}
    assert left_as_is({X: ours}, {}, KEYS) == {X: ours}


OWNED = sealing_keys(lambda: b"k" * 32, (b"o" * 32,), "here")
OWN_SEAL, ALL_SEAL = name_of(b"k" * 32), OWNED.current_name


def sealed_row(print_: bytes, seal: str) -> LedgerRow:
    return LedgerRow(print_, sensitive=True, seal=seal)


@pytest.mark.parametrize(
    ("our", "their", "counts"),
    [
        (OWN_SEAL, ALL_SEAL, "theirs"),
        (ALL_SEAL, OWN_SEAL, "ours"),
        ("another", ALL_SEAL, "theirs"),
        (ALL_SEAL, "another", "ours"),
        ("another", OWN_SEAL, "theirs"),
        (OWN_SEAL, "another", "ours"),
        ("another", "a third", "ours"),
    ],
)
def test_of_two_seals_the_one_that_more_can_compare_counts(our: str, their: str, counts: str) -> None:
    """Of rows that say the same under two seals, the one that all machines can compare counts, then the one that this one
    can."""
    ours, theirs = sealed_row(b"a" * 16, our), sealed_row(b"b" * 16, their)
    found = merge({X: ours}, [], {X: theirs}, lambda _, row: False, OWNED)
    assert found == {X: ours if counts == "ours" else theirs}


def test_a_row_is_written_again_for_the_sake_of_all_machines_alone() -> None:
    """A row in a ledger is sealed with another key only if all machines of the owner can compare it then."""
    mine, shared, others = (sealed_row(seal.encode() * 16, seal) for seal in (OWN_SEAL, ALL_SEAL, "another"))
    assert left_as_is({X: shared}, {X: others}, OWNED) == {X: shared}
    assert left_as_is({X: mine}, {X: others}, OWNED) == {X: others}
    assert left_as_is({X: mine}, {X: shared}, OWNED) == {X: shared}
    assert left_as_is({X: mine}, {X: others}, KEYS) == {X: others}
