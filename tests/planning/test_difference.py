from __future__ import annotations

import pytest

from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Entry, Identity
from kvsync.planning.difference import differences

KEY = Identity("k")


@pytest.mark.parametrize(
    ("wanted", "held", "named"),
    [
        (Content(b"1", description="a"), Content(b"2", description="a"), ("value",)),
        (Content(b"1", description="a"), Content(b"1", description="b"), ("description",)),
        (Content(b"1", description="a"), Content(b"1"), ("description",)),
        (Content(b"1", description=""), Content(b"2"), ("value",)),
        (Content(b"1"), Content(b"2", description="a"), ("value",)),
        (Content(b"1", "text/plain"), Content(b"1", None, (("a", "b"),), "{}"), ("content_type", "tags", "metadata")),
    ],
)
def test_exactly_the_parts_that_differ_are_named(wanted: Content, held: Content, named: tuple[str, ...]) -> None:
    """A plan names the parts of an entry that differ; a description that the files do not mention is not one of them."""
    actual = Actual(KEY, "1", fingerprint(held), held)
    assert differences(Entry(KEY, wanted, fingerprint(wanted)), actual) == named
