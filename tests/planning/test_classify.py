"""The table in `kvsync.planning.classify`, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvsync.model.canonical import fingerprint
from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.entry import ENDED, Actual, Applied, Content, Entry, Identity, Mark, Mode, sealed
from kvsync.model.policy import Adopt, Prune
from kvsync.planning.classify import classify
from kvsync.planning.difference import CLOCK_SLACK
from kvsync.planning.marks import MarkSigner
from kvsync.planning.release import classify_release
from kvsync.planning.undesired import classify_undesired
from kvsync.planning.verdict import Idle, Removal, Rules, Verdict
from tests.planning.target_model import HERE, NOW, OWNER, SIGNER, TARGET, actual, entry, mark
from tests.support.places import signer_of

RULES = Rules(SIGNER, NOW, b"key")
TTL = 900


def seen(text: str, etag: str | None = None) -> Applied:
    return Applied(mark(text), etag)


def verdict_of(verdict: Verdict) -> tuple[str, str] | str:
    if isinstance(verdict, Idle):
        return str(verdict)
    if isinstance(verdict, Refusal):
        return "refused", str(verdict.cause)
    return str(verdict.action), str(verdict.cause)


ENDED_ONE = Applied(mark("a"), ENDED)
UNSEEN = Applied(mark("a"), None, unseen_since=NOW - 60)


def copied(key: str, text: str) -> Actual:
    """An entry with a mark of ours that was made for another key."""
    return replace(actual(key, text), mark=SIGNER.signed(Identity("elsewhere"), mark(text)))


def unsealed(key: str, text: str) -> Actual:
    """An entry as an earlier version of kvsync left it."""
    return replace(actual(key, text), mark=mark(text))


ROWS = [
    ("new", entry("k"), None, None, ("create", "new")),
    ("missing", entry("k", "a"), None, seen("a"), ("create", "missing")),
    ("missing and changed", entry("k", "b"), None, seen("a"), ("create", "conflict")),
    ("unchanged", entry("k", "a"), actual("k", "a", mark=mark("a")), None, "unchanged"),
    ("changed", entry("k", "b"), actual("k", "a", mark=mark("a")), None, ("update", "changed")),
    ("drifted", entry("k", "a"), actual("k", "x", mark=mark("a")), None, ("update", "drifted")),
    ("conflict", entry("k", "b"), actual("k", "x", mark=mark("a")), None, ("update", "conflict")),
    ("both went the same way", entry("k", "b"), actual("k", "b", mark=mark("a")), None, "unchanged"),
    (
        "agreed on since, then the files changed",
        entry("k", "c"),
        actual("k", "b", mark=mark("a"), etag="7"),
        seen("b", "7"),
        ("update", "changed"),
    ),
    ("unowned and equal", entry("k", "a"), actual("k", "a"), None, ("adopt", "unowned")),
    ("unowned and different", entry("k", "a"), actual("k", "b"), None, ("refused", "unowned")),
    ("its ownership mark was removed", entry("k", "a"), actual("k", "b"), seen("a"), ("update", "drifted")),
    ("only its mark is gone", entry("k", "a"), actual("k", "a"), seen("a"), ("adopt", "drifted")),
    ("its mark is gone, files changed", entry("k", "b"), actual("k", "a"), seen("a"), ("update", "conflict")),
    ("its mark is gone, we ended it", entry("k", "a"), actual("k", "b"), ENDED_ONE, ("refused", "unowned")),
    ("another wrote what was out of sight", entry("k", "a"), actual("k", "b"), UNSEEN, ("refused", "unowned")),
    ("out of sight, and back", entry("k", "a"), actual("k", "a"), UNSEEN, ("adopt", "drifted")),
    ("a copy, equal", entry("k", "a"), copied("k", "a"), None, ("adopt", "unowned")),
    ("a copy, different", entry("k", "a"), copied("k", "b"), None, ("refused", "unowned")),
    ("a copy over what we wrote", entry("k", "a"), copied("k", "b"), seen("a"), ("update", "drifted")),
    ("an old revision, restored", entry("k", "b"), actual("k", "a", mark=mark("a")), seen("b"), ("update", "drifted")),
    (
        "we ended it, and another machine of ours wrote it since",
        entry("k", "a"),
        actual("k", "b", mark=mark("b")),
        ENDED_ONE,
        ("update", "changed"),
    ),
    ("marked by an earlier version, equal", entry("k", "a"), unsealed("k", "a"), None, ("adopt", "unowned")),
    ("marked by an earlier version, different", entry("k", "b"), unsealed("k", "a"), None, ("refused", "unowned")),
    ("marked by an earlier version, known", entry("k", "a"), unsealed("k", "a"), seen("a"), ("adopt", "changed")),
    ("marked by an earlier version, changed", entry("k", "b"), unsealed("k", "a"), seen("a"), ("update", "changed")),
    ("marked by an earlier version, drifted", entry("k", "a"), unsealed("k", "b"), seen("a"), ("update", "drifted")),
    ("taken", entry("k", "a"), actual("k", "a", mark=mark("a", "them")), None, ("refused", "taken")),
    ("locked", entry("k", "b"), actual("k", "a", mark=mark("a"), locked=True), None, ("refused", "locked")),
    ("locked and equal, not ours", entry("k", "a"), actual("k", "a", locked=True), None, "unchanged"),
    ("locked and equal", entry("k", "a"), actual("k", "a", mark=mark("a"), locked=True), None, "unchanged"),
    ("protected", entry("k", "b", protected=True), actual("k", "a", mark=mark("a")), None, ("refused", "protected")),
    ("protected and missing", entry("k", "b", protected=True), None, None, ("create", "new")),
    ("newly protected", entry("k", "a", protected=True), actual("k", "a", mark=mark("a")), None, ("adopt", "changed")),
    ("create-only, exists", entry("k", "b", mode=Mode.CREATE_ONLY), actual("k", "a"), None, "unchanged"),
    ("create-only, new", entry("k", "b", mode=Mode.CREATE_ONLY), None, None, ("create", "new")),
    ("observed, differs", entry("k", "b", mode=Mode.OBSERVE), actual("k", "a"), None, ("update", "drifted")),
    ("a moment passed", entry("k", expires_at=int(NOW)), None, seen("v"), "expired"),
    (
        "a moment passed, left behind",
        entry("k", expires_at=int(NOW)),
        actual("k", mark=mark("v")),
        None,
        ("delete", "expired"),
    ),
    ("a moment passed, not ours", entry("k", expires_at=int(NOW)), actual("k"), None, "expired"),
]


@pytest.mark.parametrize(
    ("wanted", "held", "last", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_desired_entries(wanted: Entry, held: Actual | None, last: Applied | None, expected: object) -> None:
    """Every row of the table gives its action and class."""
    assert verdict_of(classify(wanted, held, last, RULES)) == expected


LIFETIMES = [
    ("plenty left", {"ttl": TTL}, NOW + TTL, TTL, "unchanged"),
    ("just above a third", {"ttl": TTL}, NOW + 301, TTL, "unchanged"),
    ("under a third", {"ttl": TTL}, NOW + 299, TTL, ("renew", "expiring")),
    ("under renew_before", {"ttl": TTL, "renew_before": 600}, NOW + 599, TTL, ("renew", "expiring")),
    ("at renew_before", {"ttl": TTL, "renew_before": 600}, NOW + 600, TTL, ("renew", "expiring")),
    ("never renewed", {"ttl": TTL, "renew_before": 0}, NOW + 1, TTL, "unchanged"),
    ("never renewed, ended", {"ttl": TTL, "renew_before": 0}, NOW - 1, TTL, ("delete", "expired")),
    ("declared again", {"ttl": TTL}, NOW + 3000, 3600, ("update", "changed")),
    ("no longer declared", {}, NOW + 600, TTL, ("update", "changed")),
    ("someone gave it an end", {}, NOW + 600, None, ("update", "drifted")),
    ("someone took its end", {"ttl": TTL}, None, TTL, ("update", "drifted")),
    ("someone made it longer", {"ttl": TTL}, NOW + TTL + CLOCK_SLACK + 1, TTL, ("update", "drifted")),
    ("a clock is off a little", {"ttl": TTL}, NOW + TTL + CLOCK_SLACK - 1, TTL, "unchanged"),
    ("at its moment", {"expires_at": int(NOW) + 60}, NOW + 60.4, None, "unchanged"),
    ("the files moved the moment", {"expires_at": int(NOW) + 60}, NOW + 90, None, ("update", "changed")),
]


@pytest.mark.parametrize(
    ("options", "expires_at", "marked", "expected"), [row[1:] for row in LIFETIMES], ids=[row[0] for row in LIFETIMES]
)
def test_lifetimes(options: dict[str, int], expires_at: float | None, marked: int | None, expected: object) -> None:
    """A lifetime is judged by what is left of it and by what was declared, never by equality of moments."""
    held = actual("k", "a", mark=mark("a", ttl=marked), expires_at=expires_at)
    wanted = replace(entry("k", "a"), **options)  # type: ignore[arg-type]
    assert verdict_of(classify(wanted, held, None, RULES)) == expected


DAY = 86_400
FAR = [
    ("on the way, long to go", 200, 31, ("unchanged")),
    ("on the way, soon over", 200, 29, ("renew", "expiring")),
    ("within reach by now", 90, 40, ("renew", "expiring")),
    ("reached", 80, 80, "unchanged"),
    ("the files want it sooner", 30, 80, ("update", "changed")),
]


@pytest.mark.parametrize(("days", "held_for", "expected"), [row[1:] for row in FAR], ids=[row[0] for row in FAR])
def test_a_moment_beyond_what_the_store_keeps(days: int, held_for: int, expected: object) -> None:
    """Where everything ends within 90 days, an end that is further away is come up to by renewals."""
    wanted = entry("k", "a", expires_at=int(NOW) + days * DAY)
    held = actual("k", "a", mark=mark("a"), expires_at=NOW + held_for * DAY)
    assert verdict_of(classify(wanted, held, None, replace(RULES, longest=90 * DAY))) == expected


def test_a_moved_moment_is_drift_when_the_ledger_knows_better() -> None:
    """When kvsync wrote the declared moment and the store shows another, someone else changed it."""
    wanted = entry("k", "a", expires_at=int(NOW) + 60)
    held = actual("k", "a", mark=mark("a"), expires_at=NOW + 90)
    last = Applied(mark("a"), "0", NOW + 60)
    assert verdict_of(classify(wanted, held, last, RULES)) == ("update", "drifted")


def test_an_end_that_the_files_no_longer_declare_is_a_change_of_the_files() -> None:
    """kvsync wrote the end that the store shows: `policy.drift` does not decide about it."""
    held, last = actual("k", "a", mark=mark("a"), expires_at=NOW + 60.4), Applied(mark("a"), "0", NOW + 60)
    assert verdict_of(classify(entry("k", "a"), held, last, RULES)) == ("update", "changed")
    assert verdict_of(classify(entry("k", "a"), replace(held, expires_at=NOW + 90), last, RULES)) == (
        "update",
        "drifted",
    )


def test_a_ttl_that_ran_out_is_not_drift() -> None:
    """An entry whose TTL ended before it was renewed is written again, and not reported as lost."""
    last = Applied(mark("a", ttl=TTL), "1", NOW - 1)
    assert verdict_of(classify(entry("k", "a", ttl=TTL), None, last, RULES)) == ("create", "expiring")
    never = entry("k", "a", ttl=TTL, renew_before=0)
    assert classify(never, None, last, RULES) is Idle.EXPIRED


def test_what_was_to_end_is_new_when_something_else_is_asked() -> None:
    """Another value or lifetime counts as new, and so does anything under a name whose entry kvsync ended itself."""
    last = Applied(mark("a", ttl=TTL), "1", NOW - 1)
    for wanted in (
        entry("k", "b", ttl=TTL, renew_before=0),
        entry("k", "a", ttl=TTL + 60, renew_before=0),
        entry("k", "a"),
    ):
        assert verdict_of(classify(wanted, None, last, RULES)) == ("create", "new")
    ended = replace(last, etag=ENDED)
    assert verdict_of(classify(entry("k", "a", ttl=TTL), None, ended, RULES)) == ("create", "new")


UNDESIRED = [
    ("ours", actual("k", "a", mark=mark("a")), Prune.OWNED, None, ("delete", "removed")),
    ("ours, changed by others", actual("k", "x", mark=mark("a")), Prune.OWNED, None, ("delete", "conflict")),
    ("ours, prune off", actual("k", "a", mark=mark("a")), Prune.OFF, None, "orphan"),
    ("ours, prune off, named", actual("k", "a", mark=mark("a")), Prune.OFF, Removal(HERE), ("delete", "removed")),
    ("ours, protected", actual("k", "a", mark=mark("a", protected=True)), Prune.OWNED, None, ("refused", "protected")),
    ("ours, locked", actual("k", "a", mark=mark("a"), locked=True), Prune.OWNED, None, ("refused", "locked")),
    ("nobody's", actual("k", "a"), Prune.OWNED, None, "foreign"),
    ("nobody's, named", actual("k", "a"), Prune.OWNED, Removal(HERE), ("refused", "unowned")),
    ("nobody's, scope", actual("k", "a"), Prune.SCOPE, None, ("delete", "foreign")),
    ("another's", actual("k", "a", mark=mark("a", "them")), Prune.OWNED, None, "foreign"),
    ("another's, named", actual("k", "a", mark=mark("a", "them")), Prune.OWNED, Removal(HERE), ("refused", "taken")),
    ("its ownership mark was removed", actual("k", "a"), Prune.OWNED, None, "foreign"),
    ("a copy", copied("k", "a"), Prune.OWNED, None, "foreign"),
    ("a copy, named", copied("k", "a"), Prune.OWNED, Removal(HERE), ("refused", "unowned")),
    ("a copy, scope", copied("k", "a"), Prune.SCOPE, None, ("delete", "foreign")),
    ("marked by an earlier version", unsealed("k", "a"), Prune.OWNED, None, ("refused", "unowned")),
    ("marked by an earlier version, prune off", unsealed("k", "a"), Prune.OFF, None, "unchanged"),
    ("another's, scope", actual("k", "a", mark=mark("a", "them")), Prune.SCOPE, None, "foreign"),
]


@pytest.mark.parametrize(
    ("held", "prune", "removal", "expected"), [row[1:] for row in UNDESIRED], ids=[row[0] for row in UNDESIRED]
)
def test_undesired_entries(held: Actual, prune: Prune, removal: Removal | None, expected: object) -> None:
    """What the files do not ask for goes only if it is ours, or if a policy reaches further."""
    rules = replace(RULES, prune=prune)
    assert verdict_of(classify_undesired(held, None, removal, rules)) == expected


RECORDED = replace(mark("a"), is_recorded=True)
KNOWN = [
    ("mark lost, content equal", actual("k", "a"), seen("a"), ("refused", "unowned")),
    ("mark lost, content another", actual("k", "x"), seen("a"), ("refused", "unowned")),
    ("a copy over it", copied("k", "x"), seen("a"), ("refused", "unowned")),
    ("marked by an earlier version", unsealed("k", "a"), seen("a"), ("delete", "removed")),
    ("marked by an earlier version, changed", unsealed("k", "x"), seen("a"), ("refused", "unowned")),
    ("no room for marks", actual("k", "a", mark=RECORDED), seen("a"), ("delete", "removed")),
    ("no room for marks, changed", actual("k", "x", mark=RECORDED), seen("a"), ("refused", "unowned")),
    ("no room for marks, back in sight", actual("k", "a", mark=RECORDED), UNSEEN, ("delete", "removed")),
    ("no room for marks, another's by now", actual("k", "x", mark=RECORDED), UNSEEN, "foreign"),
    ("we ended it", actual("k", "a"), ENDED_ONE, "foreign"),
]


@pytest.mark.parametrize(("held", "last", "expected"), [row[1:] for row in KNOWN], ids=[row[0] for row in KNOWN])
def test_a_delete_needs_proof(held: Actual, last: Applied, expected: object) -> None:
    """What the ledger knows, and no valid mark or equal content proves to be ours, is never deleted."""
    assert verdict_of(classify_undesired(held, last, None, RULES)) == expected


WITH_KEY = replace(RULES, signer=signer_of(TARGET, OWNER, b"new", b"old"))
SIGNED = [
    ("by the key", signer_of(TARGET, OWNER, b"new"), ("delete", "removed"), "unchanged"),
    ("by the older key", signer_of(TARGET, OWNER, b"old"), ("delete", "removed"), ("adopt", "changed")),
    ("by a stranger's key", signer_of(TARGET, OWNER, b"theirs"), "foreign", ("adopt", "unowned")),
    ("without a key", SIGNER, "foreign", ("adopt", "unowned")),
]


@pytest.mark.parametrize(
    ("signer", "undesired", "desired"), [row[1:] for row in SIGNED], ids=[row[0] for row in SIGNED]
)
def test_with_an_owner_key_only_its_signatures_count(signer: MarkSigner, undesired: object, desired: object) -> None:
    """A mark that anyone could have made proves nothing; one under an older key does, and is written again."""
    held = replace(actual("k", "a"), mark=signer.signed(Identity("k"), mark("a")))
    assert verdict_of(classify_undesired(held, None, None, WITH_KEY)) == undesired
    assert verdict_of(classify(entry("k", "a"), held, None, WITH_KEY)) == desired


@pytest.mark.parametrize(
    ("adopt", "text", "expected"),
    [
        (Adopt.NEVER, "a", ("refused", "unowned")),
        (Adopt.IF_EQUAL, "a", ("adopt", "unowned")),
        (Adopt.IF_EQUAL, "b", ("refused", "unowned")),
        (Adopt.ALWAYS, "a", ("adopt", "unowned")),
        (Adopt.ALWAYS, "b", ("update", "unowned")),
    ],
)
def test_adoption(adopt: Adopt, text: str, expected: object) -> None:
    """An entry without an owner is taken over exactly as policy.adopt says."""
    assert verdict_of(classify(entry("k", "a"), actual("k", text), None, replace(RULES, adopt=adopt))) == expected


def test_protection_can_be_lifted_by_hand() -> None:
    """--allow-protected lets a protected entry be overwritten and deleted."""
    rules = replace(RULES, allow_protected=True)
    held = actual("k", "a", mark=mark("a", protected=True))
    assert verdict_of(classify(entry("k", "b", protected=True), held, None, rules)) == ("update", "changed")
    assert verdict_of(classify_undesired(held, None, None, rules)) == ("delete", "removed")


def test_json_is_compared_by_meaning() -> None:
    """Another spelling of the same JSON makes no difference, also in a store that knows no content types."""
    wanted = replace(entry("k", '{"a":1,"b":2}'), json=True)
    held = actual("k", '{ "b": 2, "a": 1 }', mark=mark('{"a":1,"b":2}'))
    assert classify(wanted, held, None, RULES) is Idle.UNCHANGED


def test_reasons_name_the_parts_that_differ() -> None:
    """A change says which parts of the content it is about."""
    theirs = Content(b"a", "text/plain", (("team", "web"),))
    held = Actual(Identity("k"), "1", fingerprint(theirs), theirs, 1, mark=SIGNER.signed(Identity("k"), mark("a")))
    verdict = classify(entry("k", "b"), held, None, RULES)
    assert isinstance(verdict, Change)
    assert verdict.action is Action.UPDATE
    assert verdict.cause is Class.CONFLICT
    assert verdict.reasons == ("value", "content_type", "tags")


def test_sealed_marks_compare_without_telling() -> None:
    """A mark sealed with a key still says whether the content is what was applied, and does not hold its fingerprint."""
    key = b"k" * 32
    plain = fingerprint(Content(b"a"))
    stamp = Mark(OWNER, sealed(plain, key), sensitive=True, key=key)
    assert stamp.matches(plain)
    assert not stamp.matches(fingerprint(Content(b"b")))
    assert stamp.fingerprint != plain


@pytest.mark.parametrize(("sealed_for", "expected"), [("k", ("adopt", "taken")), ("elsewhere", ("refused", "taken"))])
def test_a_transfer_takes_over_what_its_owner_wrote(sealed_for: str, expected: object) -> None:
    """The mark of the previous owner must have been made for this entry: a copy of it proves nothing."""
    former = signer_of(TARGET, "them")
    held = replace(actual("k", "a"), mark=former.signed(Identity(sealed_for), mark("a", owner="them")))
    rules = replace(RULES, from_owner="them")
    assert verdict_of(classify(entry("k", "a"), held, None, rules)) == expected


@pytest.mark.parametrize(("text", "is_released"), [("a", True), ("b", False)])
def test_a_release_gives_up_only_what_is_proven_to_be_ours(text: str, is_released: bool) -> None:
    """Where only the ledger knows what is ours, an entry with other content may be another writer's, and is left alone."""
    held = actual("k", text, mark=mark("a", is_recorded=True))
    verdict = classify_release(held, seen("a"), RULES)
    assert (verdict is not None) is is_released
