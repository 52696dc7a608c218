"""Lists of key-values, keys, labels and revisions: filtered, ordered, paged, now or at a past moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from kvsync.emulators.azure import filters, pages
from kvsync.emulators.azure.body import KEY_VALUES, Form
from kvsync.emulators.azure.filters import Filter, KeyValueFilter
from kvsync.emulators.azure.history import History
from kvsync.emulators.azure.model import KeyValue, Slot, View
from kvsync.emulators.azure.pages import Page
from kvsync.emulators.azure.query import LIST_TAGS, PAGE_ETAGS, Arguments
from kvsync.emulators.model import Answer


@dataclass(frozen=True, slots=True)
class Lists:
    """Answers `/kv`, `/keys`, `/labels` and `/revisions`; of another form, the lists of that type."""

    history: History
    form: Form = KEY_VALUES

    def key_values(self, arguments: Arguments, view: View) -> Answer:
        """GET and HEAD /kv."""
        wanted = self._wanted(arguments)
        after = pages.continuation(arguments)
        found = self.matching(wanted, view, (after[0], after[-1]) if len(after) == 2 else None)
        return resource_page(Page.cut((_place(item.slot), item) for item in found), arguments, self.form)

    def revisions(self, arguments: Arguments, view: View) -> Answer:
        """GET and HEAD /revisions: newest first within a key."""
        wanted = self._wanted(arguments)
        after = pages.continuation(arguments)
        start = (after[0], after[1]) if len(after) == 3 and after[2].isdecimal() else None
        page = Page.cut(self._past(wanted, view, start, int(after[2]) + 1 if start else 0))
        return resource_page(page, arguments, self.form)

    def names(self, kind: str, arguments: Arguments, view: View) -> Answer:
        """GET and HEAD /keys and /labels: distinct names; the null label is listed as null."""
        wanted = filters.read(arguments.one("name"), "label" if kind == "label" else "name")
        after = arguments.one("after") and pages.continuation(arguments)[0]
        take: Callable[[KeyValue], str | None] = (lambda kv: kv.key) if kind == "key" else (lambda kv: kv.label)
        found = self.matching(KeyValueFilter(wanted) if kind == "key" else KeyValueFilter(label=wanted), view)
        names = sorted({take(item) or "" for item in found})
        later = ((name, name or None) for name in names if after is None or name > after)
        page = Page.cut(later)
        fields = arguments.selected(("name",))
        items = [dict.fromkeys(fields, name) for name in page.items]
        return pages.answer(f"{kind}set", items, page.after, arguments)

    def matching(self, wanted: KeyValueFilter, view: View, after: Slot | None = None) -> Iterator[KeyValue]:
        """Key-values in order, from the place after one on."""
        for slot in self._slots(wanted.key, after, again=False):
            found = self.history.current(slot, view)
            if found is not None and wanted.accepts(found):
                yield found

    def _wanted(self, arguments: Arguments) -> KeyValueFilter:
        tags = filters.read_tags(arguments.all("tags")) if arguments.version >= LIST_TAGS else ()
        key, label = (filters.read(arguments.one(name), name) for name in (self.form.name, "label"))
        return KeyValueFilter(key, label, tags)

    def _slots(self, key: Filter, after: Slot | None, *, again: bool) -> Iterator[Slot]:
        """Slots that the filter can let pass, from one on (`again`) or from the one after it."""
        start = after or (key.first, "")
        for slot in self.history.slots(start, after=after is not None and not again):
            if key.past(slot[0]):
                return
            yield slot

    def _past(
        self, wanted: KeyValueFilter, view: View, start: Slot | None, skip: int
    ) -> Iterable[tuple[str, KeyValue]]:
        for slot in self._slots(wanted.key, start, again=True):
            first = skip if slot == start else 0
            for index, found in islice(enumerate(self.history.revisions(slot, view)), first, None):
                if wanted.accepts(found):
                    yield f"{_place(slot)}\n{index}", found


def resource_page(page: Page[KeyValue], arguments: Arguments, form: Form = KEY_VALUES) -> Answer:
    """A page of key-values or of another form, with its etag in the versions that know of it."""
    etag = page.etag(item.etag for item in page.items) if arguments.version >= PAGE_ETAGS else None
    return pages.answer(
        form.list_kind, [form.show(item, arguments) for item in page.items], page.after, arguments, etag
    )


def _place(slot: Slot) -> str:
    return "\n".join(slot)
