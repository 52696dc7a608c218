"""Renders the status snapshot as HTML. Pure, except for reading the templates.

Everything is escaped where it is put in. Texts that people, files and stores worded go through `said`, and through `titled`
where they stand in an attribute or a title: secrets are taken out, what is not visible is spelled out, and what is written from
right to left is isolated. `shown` is for texts that are escaped already.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kvsync.errors import ErrorCode
from kvsync.model.entry import Target
from kvsync.rendering.words import count, moment, orphans_kept, orphans_unmanaged, short_hash
from kvsync.status.page import words
from kvsync.status.page.assets import Asset
from kvsync.status.page.bars import bars
from kvsync.status.page.folding import folds, sides
from kvsync.status.page.headline import MEANINGS, Urgency, headline, level_of, level_of_state, numbers, word
from kvsync.status.page.listing import chips, listing, store_chips
from kvsync.status.page.query import Query, address_of
from kvsync.status.page.timeline import CLASSES, timeline
from kvsync.status.plan_views import UndoView
from kvsync.status.snapshot import State, StatusSnapshot, TargetView
from kvsync.util.escaping import encode_path, escape_html, isolate_text

_LEVEL: Final = 5
"""Of compression: a page shrinks to a sixth, in about a millisecond."""

MOST_PARKED: Final = 8
MOST_ENDS: Final = 10
MOST_RUNS: Final = 20
MOST_PROBLEMS: Final = 50
"""What the page shows of each; the rest is counted."""


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """HTML, in the encoding that was asked for."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Who asks for a page: the encodings and the address they ask with; what their forms carry when they are signed in (else
    empty), a note that is shown once, and whether signing in is possible at all."""

    encodings: str = ""
    address: str = "/"
    csrf: str = ""
    note: str = ""
    is_bad: bool = False
    can_sign_in: bool = False


NOBODY: Final = PageRequest()


class Renderer:
    """Renders the pages. `stamp` identifies a version of the snapshot, `redact` removes secrets from a text."""

    def __init__(self, assets: Mapping[str, Asset], stamp: Callable[[int], str], redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._templates = Environment(
            loader=PackageLoader("kvsync.status.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= _FILTERS | {"said": self._said, "shown": _shown, "titled": self._titled}
        self._templates.globals |= {"assets": assets, "build": _build(assets), "stamp": stamp} | _GLOBALS

    def home(self, snapshot: StatusSnapshot, query: Query, request: PageRequest = NOBODY) -> RenderedPage:
        """The start page, with all targets."""
        parked = [view for view in snapshot.targets if view.state is State.PARKED]
        kept = [(view.target, view.orphans) for view in snapshot.targets if view.orphans]
        ends = sorted((view for view in snapshot.targets if view.nearest_end), key=_end)
        given = {
            "headline": headline(snapshot),
            "query": query,
            "listing": listing(snapshot, query),
            "chips": chips(snapshot, query),
            "stores": store_chips(snapshot, query),
            "passes": bars(snapshot.passes, snapshot.at),
            "parked": parked,
            "ends": ends,
            "orphans": [*map(orphans_unmanaged, snapshot.unmanaged), *starmap(orphans_kept, kept)],
            "timeline": timeline(snapshot.drift, snapshot.at),
        }
        return self._page("home.html", snapshot, given, request)

    def target(self, snapshot: StatusSnapshot, view: TargetView, request: PageRequest = NOBODY) -> RenderedPage:
        """One target."""
        points = [point for point in snapshot.drift if point.target == view.target]
        given = {
            "view": view,
            "level": level_of(view),
            "runs_of": [run for run in snapshot.runs if run.target == view.target],
            "timeline": timeline(points, snapshot.at),
        }
        return self._page("target.html", snapshot, given, request)

    def missing(self, snapshot: StatusSnapshot, target: Target, request: PageRequest = NOBODY) -> RenderedPage:
        """No such target."""
        return self._page("missing.html", snapshot, {"target": target}, request)

    def undo(self, snapshot: StatusSnapshot, found: UndoView, request: PageRequest) -> RenderedPage:
        """What an undo would do."""
        return self._page("undo.html", snapshot, {"undo": found}, request)

    def sign_in(self, request: PageRequest, back: str, *, is_wrong: bool) -> RenderedPage:
        """Page to enter the token, after which the address `back` is shown. It reveals nothing about the daemon."""
        html = self._templates.get_template("sign_in.html").render(request=request, back=back, is_wrong=is_wrong)
        return _encoded(html, request.encodings)

    def _page(
        self, template: str, snapshot: StatusSnapshot, given: Mapping[str, Any], request: PageRequest
    ) -> RenderedPage:
        html = self._templates.get_template(template).render(given, snapshot=snapshot, now=snapshot.at, request=request)
        return _encoded(html, request.encodings)

    def _said(self, text: str) -> Markup:
        return _shown(self._redact(text))

    def _titled(self, text: str) -> str:
        return isolate_text(self._redact(text))


def _encoded(html: str, encodings: str) -> RenderedPage:
    body, headers = html.encode("utf-8", "replace"), {"Content-Type": "text/html; charset=utf-8"}
    if "gzip" not in encodings:
        return RenderedPage(body, headers)
    return RenderedPage(gzip.compress(body, _LEVEL, mtime=0), headers | {"Content-Encoding": "gzip"})


def _shown(text: str) -> Markup:
    return Markup(escape_html(text))  # noqa: S704  # escaped by the one function for HTML  # nosec B704


def _build(assets: Mapping[str, Asset]) -> str:
    """What differs between two programs that make pages: one that is open then loads itself again."""
    names = "".join(asset.fingerprint for _, asset in sorted(assets.items()))
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def _end(view: TargetView) -> float:
    assert view.nearest_end is not None
    return view.nearest_end.at


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "applicable": words.is_applicable,
    "absolute": words.absolute,
    "counted": count,
    "encoded": encode_path,
    "folds": folds,
    "sides": sides,
    "moment": moment,
    "plural": words.plural,
    "relative": words.relative,
    "short_hash": short_hash,
    "size": words.size,
    "span": words.span,
    "tally": words.tally,
    "to_do": words.to_do,
    "took": words.took,
    "word": word,
}

_GLOBALS: Final[dict[str, Any]] = {
    "Urgency": Urgency,
    "State": State,
    "address_of": address_of,
    "causes": CLASSES,
    "level_of": level_of,
    "level_of_state": level_of_state,
    "meanings": MEANINGS,
    "numbers": numbers,
    "parked_code": ErrorCode.PARKED,
    "most_ends": MOST_ENDS,
    "most_parked": MOST_PARKED,
    "most_problems": MOST_PROBLEMS,
    "most_runs": MOST_RUNS,
}
