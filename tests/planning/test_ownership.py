"""Ownership of an entry by its mark, the ledger and the place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvsync.model.entry import ENDED, Actual, Applied, Identity, Mark
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.planning.ownership import Claim, claim_of

OWNER, PRINT = "team-a", b"f" * 16
MARK = Mark(OWNER, PRINT, None)
SIGNER = MarkSigner(OWNER, Place("test", (("id", "one"),)))
MARKS = pytest.mark.parametrize(
    "mark", [None, MARK, replace(MARK, is_recorded=True)], ids=["no mark", "weak mark", "no room for marks"]
)


@MARKS
def test_entry_that_appears_after_its_end_is_not_owned(mark: Mark | None) -> None:
    """An entry whose life kvsync ended is someone else's if it appears again, even with the same content: it is not deleted."""
    actual = Actual(Identity("k"), fingerprint=PRINT, etag="2", mark=mark)
    assert claim_of(actual, Applied(MARK, ENDED), SIGNER, 100.0) is not Claim.OWNED
