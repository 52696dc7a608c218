"""Random targets for the three-way diff: desired entries, entries in the store, and the ledger.

The model of applying here is deliberately naive: a dictionary, with the rules a store promises and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from kvsync.errors import Origin
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import Action, Change
from kvsync.model.desired import Desired
from kvsync.model.entry import Actual, Applied, Content, Entry, Identity, Mark, Mode, Target
from kvsync.model.plan import TargetPlan
from kvsync.model.policy import Adopt, Guard, Policy, Prune
from kvsync.model.snapshot import snapshot_of
from kvsync.planning.compare import compare
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.planning.plan_target import plan_target
from kvsync.planning.verdict import Rules
from tests.support.places import signer_of

TARGET = Target("store", "namespace")
OWNER = "us"
SIGNER = signer_of(TARGET, OWNER)
NOW = 1_000_000.0
CAPABILITIES = Capabilities(type="model", namespace="a dictionary")
NO_GUARD = Guard(max_delete_pct=100, max_update_pct=100, max_deletes=10**6)
HERE = Origin("state/web.yaml", 1, 1)


def content(text: str) -> Content:
    return Content(text.encode())


def entry(key: str, text: str = "v", label: str | None = None, **options: object) -> Entry:
    made = Entry(Identity(key, label), content(text), fingerprint(content(text)), origin=HERE)
    return replace(made, **options)  # type: ignore[arg-type]


def mark(text: str, owner: str = OWNER, **options: object) -> Mark:
    return replace(Mark(owner, fingerprint(content(text))), **options)  # type: ignore[arg-type]


def actual(
    key: str, text: str = "v", label: str | None = None, *, mark: Mark | None = None, etag: str = "1", **options: object
) -> Actual:
    what, name = content(text), Identity(key, label)
    if mark is not None and mark.owner == OWNER and mark.seal is None and not mark.is_recorded:
        mark = SIGNER.signed(name, mark)
    made = Actual(name, etag, fingerprint(what), what, len(what.value), mark=mark)
    return replace(made, **options)  # type: ignore[arg-type]


def is_plain(one: Entry) -> bool:
    lifetime = one.ttl is not None or one.expires_at is not None
    return not lifetime and one.mode is Mode.ENFORCE and not one.sensitive and not one.protected


def desired_of(*entries: Entry, policy: Policy | None = None, **options: object) -> Desired:
    made = Desired(
        TARGET,
        {one.identity: one for one in entries},
        {one.identity: one.fingerprint for one in entries if is_plain(one)},
        digest="d",
        policy=policy or Policy(guard=NO_GUARD),
    )
    return replace(made, **options)  # type: ignore[arg-type]


@dataclass
class TargetModel:
    """A target at one moment. `applied` is what the ledger remembers."""

    desired: Desired
    store: dict[Identity, Actual]
    applied: dict[Identity, Applied] = field(default_factory=dict)
    now: float = NOW
    version: int = 100
    allow_protected: bool = False

    def plan(self, facts: PlanInputs | None = None) -> TargetPlan:
        live = [one for one in self.store.values() if one.expires_at is None or one.expires_at > self.now]
        snapshot = snapshot_of(TARGET, live, SIGNER)
        policy = self.desired.policy
        rules = Rules(SIGNER, self.now, b"key", policy.prune, policy.adopt, self.allow_protected)
        facts = replace(facts or PlanInputs(), actual=dict(snapshot.entries), applied=self.applied)
        return plan_target(
            self.desired,
            snapshot,
            compare(self.desired, snapshot, SIGNER, self.applied.keys),
            facts,
            rules,
            CAPABILITIES,
        )

    def apply(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self.version += 1
            if change.action is Action.DELETE:
                del self.store[change.identity]
                self.applied.pop(change.identity, None)
            else:
                self._put(change)

    def _put(self, change: Change) -> None:
        one = change.after
        assert one is not None
        expires_at = self.now + one.ttl if one.ttl is not None else one.expires_at
        stamp = SIGNER.mark_of(one)
        self.store[one.identity] = Actual(
            one.identity,
            str(self.version),
            one.fingerprint,
            one.content,
            len(one.content.value),
            expires_at,
            stamp,
        )
        self.applied[one.identity] = Applied(stamp, str(self.version), expires_at)


KEYS = st.sampled_from([f"key{number}" for number in range(8)])
LABELS = st.sampled_from([None, "prod", "dev"])
TEXTS = st.sampled_from(["a", "b", "c", "d"])
OWNERS = st.sampled_from([None, OWNER, OWNER, "them"])
LIFETIMES = st.sampled_from(
    [
        {},
        {},
        {},
        {"ttl": 3600},
        {"ttl": 3600, "renew_before": 0},
        {"expires_at": int(NOW) + 50},
        {"expires_at": int(NOW) - 50},
    ]
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    return entry(
        draw(KEYS),
        draw(TEXTS),
        draw(LABELS),
        **draw(LIFETIMES),
        mode=draw(st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.CREATE_ONLY, Mode.OBSERVE])),
        protected=draw(st.sampled_from([False, False, False, True])),
        sensitive=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def actuals(draw: st.DrawFn) -> Actual:
    owner = draw(OWNERS)
    ttl = draw(st.sampled_from([None, None, 3600]))
    stamp = None
    if owner is not None:
        protected = draw(st.sampled_from([False, False, False, True]))
        stamp = mark(draw(TEXTS), owner, ttl=ttl, protected=protected)
    return actual(
        draw(KEYS),
        draw(TEXTS),
        draw(LABELS),
        mark=stamp,
        etag=str(draw(st.integers(1, 3))),
        expires_at=draw(st.sampled_from([None, None, NOW + 30, NOW + 3500])),
        locked=draw(st.sampled_from([False, False, False, False, True])),
    )


@st.composite
def ledgers(draw: st.DrawFn) -> Mapping[Identity, Applied]:
    pairs = draw(st.lists(st.tuples(KEYS, LABELS, TEXTS, st.integers(1, 3)), max_size=8))
    return {Identity(key, label): Applied(mark(text), str(etag)) for key, label, text, etag in pairs}


@st.composite
def models(draw: st.DrawFn, policy: Policy | None = None) -> TargetModel:
    wanted = draw(st.lists(entries(), max_size=8, unique_by=lambda one: one.identity))
    held = draw(st.lists(actuals(), max_size=8, unique_by=lambda one: one.identity))
    absent = dict.fromkeys(draw(st.sets(KEYS, max_size=2)) - {one.identity.key for one in wanted}, HERE)
    desired = desired_of(*wanted, policy=policy or draw(policies()), absent=absent)
    return TargetModel(desired, {one.identity: one for one in held}, dict(draw(ledgers())))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return Policy(
        prune=draw(st.sampled_from(list(Prune))),
        adopt=draw(st.sampled_from(list(Adopt))),
        guard=NO_GUARD,
        ignore=draw(st.sampled_from([(), (), ("key1",)])),
    )
