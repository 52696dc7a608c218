"""Walking listings that a server returns in pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvsync.errors import TransientError
from kvsync.http.paging import MOST_EMPTY_PAGES, ListingLimit, ListingPage, walk
from kvsync.model.answer_limits import AnswerLimits
from kvsync.testing import FakeClock


async def walked(
    *pages: ListingPage[str, int], limits: AnswerLimits | None = None, most: int | None = None
) -> list[str]:
    """The contents of `pages`, whose positions are their numbers."""

    async def fetch(position: int) -> ListingPage[str, int]:
        return pages[position]

    limit = ListingLimit("listing web", limits or AnswerLimits(), FakeClock(), most)
    return [page.content async for page in walk(0, fetch, limit)]


def page(content: str, next_: int | None = None, *, entries: int = 1, is_known: bool = False) -> ListingPage[str, int]:
    return ListingPage(content, entries, len(content), next_, is_known)


async def test_pages_come_in_order_up_to_the_last() -> None:
    assert await walked(page("a", 2), page("never"), page("b", 3), page("c")) == ["a", "b", "c"]


async def test_pages_that_lead_back_are_an_error() -> None:
    """A listing whose pages form a loop would never end, and may lack entries."""
    with pytest.raises(TransientError, match="listing web failed: the pages form a loop"):
        await walked(page("a", 1), page("b", 2), page("c", 1))
    with pytest.raises(TransientError, match="loop"):
        await walked(page("a", 0))


async def test_too_many_pages_are_an_error() -> None:
    """The smaller bound counts, and a page that says that another one follows counts as that one too."""
    three = (page("a", 1), page("b", 2), page("c"))
    assert len(await walked(*three, limits=AnswerLimits(listing_pages=3), most=3)) == 3
    with pytest.raises(TransientError, match=r"limits\.listing_pages is 2"):
        await walked(*three, limits=AnswerLimits(listing_pages=2))
    with pytest.raises(TransientError, match="more than 2 pages; check the endpoint"):
        await walked(*three, most=2)


async def test_empty_pages_end_a_listing_unless_they_are_known() -> None:
    """A server may return some empty pages in a row, and any number of pages that did not change."""
    count = MOST_EMPTY_PAGES + 1
    numbers = [number + 1 if number + 1 < count else None for number in range(count)]
    with pytest.raises(TransientError, match="empty pages in a row"):
        await walked(*(page("", number, entries=0) for number in numbers))
    assert len(await walked(*(page("", number, entries=0, is_known=True) for number in numbers))) == count


async def test_a_page_that_comes_again_ends_the_listing() -> None:
    """A server that repeats a page under ever new positions would never end."""
    pages = [replace(page("a", number + 1), begins_with="a" if number else "first") for number in range(1_000)]
    limit = ListingLimit("listing web", AnswerLimits(), FakeClock())
    asked: list[int] = []

    async def fetch(position: int) -> ListingPage[str, int]:
        asked.append(position)
        return pages[position]

    with pytest.raises(TransientError, match="listing web failed: the pages repeat; check the endpoint"):
        [one async for one in walk(0, fetch, limit)]
    assert len(asked) == 3


def test_bytes_besides_pages_count() -> None:
    """A store that reads each entry on its own counts what comes, and does not count pages for it."""
    limit = ListingLimit("listing web", AnswerLimits(listing_pages=1, listing_bytes=100), FakeClock())
    limit.receive(50)
    limit.receive(50)
    with pytest.raises(TransientError, match=r"101 bytes: limits\.listing_bytes is 100"):
        limit.receive(1)
