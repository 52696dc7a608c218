"""Names point to other places, strangers copy, edit, restore and forge, machines forget: kvsync deletes and overwrites what is
proven to be its own, nothing else, and in peace everything converges."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kvsync.app import Report, TargetSelection
from kvsync.model.capabilities import Marks
from kvsync.model.change import Change, Refusal
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.stores.memory.backend import RemoteKey, StoredEntry
from kvsync.stores.memory.store import _SHARED
from tests.support.accounts import NAMES, Account, Address, Strangers, locate_by_id
from tests.support.examples import examples
from tests.support.memory_repository import OWNER, MemoryRepository
from tests.support.ownership_model import EntryAddress, ExpectedFate, MachineState, OwnerMachine, OwnershipModel
from tests.support.stores import KINDS

OTHER_OWNER = "team-b"
MACHINES = ("one", "two")
OURS, THEIRS = ("k0", "k1"), ("t0",)
KEYS = st.sampled_from([*OURS, *OURS, *THEIRS])
THEN = st.sampled_from(["nothing", "nothing", "one", "two", OTHER_OWNER, "peace"])
LABELS = st.sampled_from([None, None, None, "x"])
VALUES = st.sampled_from(["one", "two"])
EXAMPLES = {
    "memory": 40,
    "memory-edge": 20,
    "memory-prefix": 10,
    "memory-ledger": 10,
    "memory-bucket": 10,
    "memory-plain-bucket": 8,
    "memory-shared-bucket": 10,
    "memory-shared-mortal": 8,
}
"""How many examples are tried of each kind of store: most where marks can be copied and forged. Kinds that only differ in
lifetimes or in the size of batches are left out."""

PICK = st.integers(0, 40)
ROTATIONS = st.sampled_from([(), (b"first",), (b"second", b"first"), (b"second",), (b"third", b"second", b"first")])
FORGERS_KEYS = st.sampled_from([None, None, b"first", b"second", b"guessed"])
POLICY = "{{guard: {{max_update_pct: 100, max_delete_pct: 100}}, adopt: {adopt}, drift: {drift}}}"

Fates = dict[EntryAddress, set[ExpectedFate]]
"""What may become of each entry."""

AllStatesRepository = dict[str, tuple[dict[RemoteKey, StoredEntry], bytes | None]]
"""What all namespaces hold, with their ledgers, by the ids of the namespaces."""


class Ownership(RuleBasedStateMachine):
    """Two accounts with two namespaces each, two machines of one owner, one of another, and strangers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory(prefix="kvsync-ownership-")
        self.patch = pytest.MonkeyPatch()

    @initialize(
        adopt=st.sampled_from(["if-equal", "if-equal", "always", "never"]),
        drift=st.sampled_from(["heal", "heal", "heal", "report"]),
        keys=ROTATIONS,
    )
    def begin(self, adopt: str, drift: str, keys: tuple[bytes, ...]) -> None:
        has = KINDS[self.kind].capabilities
        self.drift, self.has_labels, self.has_marks = drift, has.labels, has.marks is Marks.STORE
        self.keeps_ledger = KINDS[self.kind].keeps_ledger
        self.rights = OwnershipModel(has_marks=self.has_marks, keeps_ledger=self.keeps_ledger)
        locate_by_id(self.patch)
        root, policy = Path(self.folder.name), POLICY.format(adopt=adopt, drift=drift)
        self.repos: dict[str, MemoryRepository] = {}
        for owner in (OWNER, OTHER_OWNER):
            (root / owner).mkdir()
            first = self.repos.get(OWNER)
            repo = MemoryRepository(
                root / owner, self.patch, self.kind, policy, owner=owner, clock=first.clock if first else None
            )
            self.repos[owner] = repo
        self.clock = self.repos[OWNER].clock
        self.accounts = {name: Account(self.clock, name) for name in ("first", "second")}
        self.strangers = Strangers(self.accounts, self.kind, has_labels=self.has_labels, has_marks=self.has_marks)
        ours: dict[RemoteKey, str] = {RemoteKey("anchor"): "stays", RemoteKey("k0"): "one", RemoteKey("k1"): "two"}
        theirs: dict[RemoteKey, str] = {RemoteKey("theirs"): "stays", RemoteKey("t0"): "one"}
        self.actors = {name: OwnerMachine(name, OWNER, ours, keys, adopt=adopt) for name in MACHINES}
        self.actors[OTHER_OWNER] = OwnerMachine(OTHER_OWNER, OTHER_OWNER, theirs, adopt=adopt)
        self.backups: dict[str, MachineState] = {}
        self.seen: AllStatesRepository = {}
        self.repos[OWNER].owner_keys = keys
        self.point_to("first")
        for owner, files in ((OWNER, ours), (OTHER_OWNER, theirs)):
            self.want(owner, files)
        self.one_pass("one", True)

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    def want(self, owner: str, files: dict[RemoteKey, str]) -> None:
        lines: dict[str, str] = {}
        for key in sorted({slot.key for slot in files}):
            plain, labelled = files.get(RemoteKey(key)), files.get(RemoteKey(key, "x"))
            parts = [f"value: {plain}"] if plain is not None else []
            parts += [f"labels: {{x: {labelled}}}"] if labelled is not None else []
            lines[key] = f"{{{', '.join(parts)}}}"
        self.repos[owner].want(lines)

    @property
    def account(self) -> Account:
        found = self.repos[OWNER].server
        assert isinstance(found, Account)
        return found

    def slot(self, key: str, label: str | None) -> RemoteKey:
        return RemoteKey(key, label if self.has_labels else None)

    # what the owners do

    @rule(key=KEYS, label=LABELS, value=VALUES, then=THEN)
    def files_ask(self, key: str, label: str | None, value: str, then: str) -> None:
        """Where marks say whose an entry is, both owners may want one key: who is there first has it."""
        owner = OWNER if key in OURS else OTHER_OWNER
        self._ask(owner, self.slot(key, label), value)
        self.afterwards(then)

    @precondition(lambda self: self.has_marks)
    @rule(key=KEYS, value=VALUES, then=THEN)
    def both_ask(self, key: str, value: str, then: str) -> None:
        for owner in (OWNER, OTHER_OWNER):
            self._ask(owner, RemoteKey(key), value)
        self.afterwards(then)

    def _ask(self, owner: str, slot: RemoteKey, value: str) -> None:
        files = self.actors[MACHINES[0] if owner == OWNER else owner].files
        files[slot] = value
        self.want(owner, files)

    @rule(key=KEYS, label=LABELS, then=THEN)
    def files_drop(self, key: str, label: str | None, then: str) -> None:
        for owner in (OWNER, OTHER_OWNER):
            files = self.actors[MACHINES[0] if owner == OWNER else owner].files
            files.pop(self.slot(key, label), None)
            self.want(owner, files)
        self.afterwards(then)

    @rule(keys=ROTATIONS, then=THEN)
    def the_owner_key_is_rotated(self, keys: tuple[bytes, ...], then: str) -> None:
        self.repos[OWNER].owner_keys = keys
        for name in MACHINES:
            self.actors[name].keys = keys
        self.rights.doubt()
        self.afterwards(then)

    @rule(name=st.sampled_from(MACHINES), what=st.sampled_from(["back up", "restore", "restore", "lose"]), then=THEN)
    def a_state_directory(self, name: str, what: str, then: str) -> None:
        """One is backed up, comes back from its backup, or is lost."""
        path, actor = self.state_dir(self.actors[name]), self.actors[name]
        backup = path.with_suffix(".backup")
        if what == "back up" and path.exists():
            shutil.rmtree(backup, ignore_errors=True)
            shutil.copytree(path, backup)
            self.backups[name] = actor.memory.copy()
        elif what == "restore" and backup.exists():
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(backup, path)
            actor.memory = self.backups[name].copy()
            self.forget_writes_of(name)
        elif what == "lose":
            shutil.rmtree(path, ignore_errors=True)
            actor.memory = MachineState()
            self.forget_writes_of(name)
        self.afterwards(then)

    def forget_writes_of(self, name: str) -> None:
        """A machine that lost its memory takes its own changes for those of another."""
        self.rights.doubt()
        for spot, writer in self.rights.last_writer.items():
            if writer == name:
                self.rights.last_writer[spot] = "before"

    # where the names lead

    @rule(name=st.sampled_from(["first", "second"]), then=THEN)
    def another_account(self, name: str, then: str) -> None:
        """The store's name points to another account, and perhaps back."""
        self.point_to(name)
        self.afterwards(then)

    def point_to(self, name: str) -> None:
        for repo in self.repos.values():
            repo.server = _SHARED[str(repo.root)] = self.accounts[name]

    def lead_to(self, at: Address) -> None:
        self.point_to(at.account.id)
        if at.namespace != "web":
            at.account.swap_names()

    @rule(then=THEN)
    def another_namespace(self, then: str) -> None:
        """The namespace is renamed, and another takes its name."""
        self.account.swap_names()
        self.afterwards(then)

    @precondition(lambda self: not self.keeps_ledger)
    @rule(name=st.sampled_from(MACHINES))
    def another_namespace_since_the_plan(self, name: str) -> None:
        """Nothing is written where the plan was not made."""
        actor, container, before = self.actors[name], self.account.ids["web"], self.everything()
        self.notice_strangers(before)
        report = asyncio.run(self._swap_within(actor))
        (plan,) = report.plan.targets
        assert self.everything() == before
        planned = slots_of(plan.changes)
        assert not planned or report.targets[0].error is not None
        pending = planned | slots_of((*plan.refused, *plan.reported))
        held = before[container][0]
        self.rights.finish(actor, container, held, held, pending)

    async def _swap_within(self, actor: OwnerMachine) -> Report:
        self.clock.advance(61)
        repo = self.repos[actor.owner]
        async with repo.open(state_dir=self.state_dir(actor)) as workspace:
            plan = await workspace.plan(TargetSelection(ask=PassOptions(retry=True, deep=True)))
            self.account.swap_names()
            return await workspace.apply(plan, command="test")

    # what strangers do

    @precondition(lambda self: self.strangers.addresses())
    @rule(
        pick=PICK,
        value=VALUES,
        what=st.sampled_from(["write", "delete", "edit", "drop", "restore"]),
        number=PICK,
        then=THEN,
    )
    def strangers_change(self, pick: int, value: str, what: str, number: int, then: str) -> None:
        """An entry is replaced, deleted, edited under its mark, robbed of its mark, or an old revision comes back."""
        found = self.strangers.addresses()
        at = found[pick % len(found)]
        match what:
            case "write":
                self.strangers.write(at, value)
            case "delete":
                self.strangers.delete(at)
            case "edit":
                self.strangers.edit(at, value)
            case "drop":
                self.strangers.drop_mark(at)
            case "restore":
                self.strangers.restore(at, number)
        self.afterwards(then)

    @rule(
        key=KEYS, label=LABELS, value=VALUES, name=st.sampled_from(NAMES), number=PICK, is_back=st.booleans(), then=THEN
    )
    def strangers_write(
        self, key: str, label: str | None, value: str, name: str, number: int, is_back: bool, then: str
    ) -> None:
        """Something new, or something that was deleted, comes back with its mark."""
        at = Address(self.account, name, self.slot(key, label))
        if is_back:
            self.strangers.restore(at, number)
        else:
            self.strangers.write(at, value)
        self.afterwards(then)

    @precondition(lambda self: self.strangers.addresses())
    @rule(
        pick=PICK,
        key=KEYS,
        label=LABELS,
        account=st.sampled_from(["first", "second"]),
        name=st.sampled_from(NAMES),
        how=st.sampled_from(["key", "label", "place", "namespace"]),
        follows=st.booleans(),
        then=THEN,
    )
    def strangers_copy(
        self, pick: int, key: str, label: str | None, account: str, name: str, how: str, follows: bool, then: str
    ) -> None:
        """Entries are copied, marks and all: to another key or label, to another place, or a namespace whole; and the names may
        lead to the copy from then on."""
        found = self.strangers.addresses()
        source = found[pick % len(found)]
        elsewhere = Address(self.accounts[account], name, source.slot)
        match how:
            case "key":
                self.strangers.copy(source, Address(source.account, source.namespace, self.slot(key, label)))
            case "label":
                other = self.slot(source.slot.key, "x" if source.slot.label is None else None)
                self.strangers.copy(source, Address(source.account, source.namespace, other))
            case "place":
                self.strangers.copy(source, elsewhere)
            case "namespace":
                self.strangers.copy_namespace(source, elsewhere)
        if follows and how in ("place", "namespace"):
            self.lead_to(elsewhere)
        self.afterwards(then)

    @precondition(lambda self: self.has_marks)
    @rule(
        key=KEYS,
        label=LABELS,
        value=VALUES,
        owner=st.sampled_from([OWNER, OWNER, OTHER_OWNER]),
        secret=FORGERS_KEYS,
        is_sealed=st.booleans(),
        then=THEN,
    )
    def strangers_forge(
        self, key: str, label: str | None, value: str, owner: str, secret: bytes | None, is_sealed: bool, then: str
    ) -> None:
        """A mark is forged, with or without an owner key, or as an earlier version wrote it."""
        at = Address(self.account, "web", self.slot(key, label))
        mark = self.strangers.forge(at, value, owner, secret, is_sealed=is_sealed)
        if mark is not None and is_sealed:
            spot = EntryAddress(self.account.ids["web"], at.slot)
            self.rights.made[spot, mark] = secret
        self.afterwards(then)

    @precondition(lambda self: self.keeps_ledger)
    @rule(is_lost=st.booleans(), number=PICK, then=THEN)
    def strangers_and_the_ledger(self, is_lost: bool, number: int, then: str) -> None:
        """The ledger in the store is lost, or an older one comes back."""
        at = Address(self.account, "web", RemoteKey(""))
        self.rights.doubt()
        if is_lost:
            self.strangers.lose_ledger(at)
        else:
            self.strangers.restore_ledger(at, number)
        self.afterwards(then)

    # what kvsync does

    def afterwards(self, then: str) -> None:
        """Let a machine do its pass right after something happened, or nothing."""
        if then == "peace":
            self.peace(MACHINES[0])
        elif then != "nothing":
            self.one_pass(then, deep=False)

    def state_dir(self, actor: OwnerMachine) -> Path:
        return Path(self.folder.name) / f"machine-{actor.name}"

    def everything(self) -> AllStatesRepository:
        return {
            account.ids[name]: (dict(account.held.get(name, {})), getattr(account.ledgers.get(name), "text", None))
            for account in self.accounts.values()
            for name in NAMES
        }

    def notice_strangers(self, now: AllStatesRepository) -> None:
        for container, (held, _) in now.items():
            before = self.seen.get(container, ({}, None))[0]
            for slot in held.keys() | before.keys():
                if held.get(slot) != before.get(slot):
                    self.rights.last_writer[EntryAddress(container, slot)] = "stranger"

    @rule(name=st.sampled_from([*MACHINES, OTHER_OWNER]), deep=st.booleans())
    def one_pass(self, name: str, deep: bool) -> None:
        """Whatever happened, only what is proven is deleted or overwritten, and only where the name leads now."""
        if name != OTHER_OWNER or not self.keeps_ledger:
            self.run(self.actors[name], deep=deep)

    def run(self, actor: OwnerMachine, *, deep: bool) -> TargetPlan:
        self.clock.advance(61)
        container, before = self.account.ids["web"], self.everything()
        self.notice_strangers(before)
        held, document = before[container]
        self.rights.begin(actor, container, document)
        spots = [EntryAddress(container, slot) for slot in held.keys() | actor.files.keys()]
        fates = {spot: self.rights.fates(actor, spot, held.get(spot.slot)) for spot in spots}
        self.strangers.note()
        ask = PassOptions(deep=deep, retry=True)
        report = asyncio.run(self.repos[actor.owner].apply(ask, state_dir=self.state_dir(actor)))
        (plan,) = report.plan.targets
        assert plan.error is None
        assert plan.parked == ()
        after = self.everything()
        self.check(actor, container, fates, before, after)
        pending = slots_of((*plan.refused, *plan.reported))
        self.rights.finish(actor, container, held, after[container][0], pending)
        if after[container][1] not in (None, document):
            self.rights.left(actor, container, after[container][1])  # type: ignore[arg-type]
        self.strangers.note()
        self.seen = after
        return plan

    def check(
        self, actor: OwnerMachine, container: str, fates: Fates, before: AllStatesRepository, after: AllStatesRepository
    ) -> None:
        assert {name: held for name, held in before.items() if name != container} == {
            name: held for name, held in after.items() if name != container
        }
        old, new = before[container][0], after[container][0]
        for slot in old.keys() | new.keys():
            spot, held = EntryAddress(container, slot), new.get(slot)
            if old.get(slot) == held:
                continue
            if held is None:
                assert ExpectedFate.DELETED in fates[spot], (spot, old[slot], fates[spot])
            else:
                assert ExpectedFate.AS_DESIRED in fates[spot], (spot, old.get(slot), held, fates[spot])
                assert held.content.value.decode() == actor.files[slot]

    @rule(name=st.sampled_from([*MACHINES, OTHER_OWNER]))
    def peace(self, name: str) -> None:
        """Without disturbance, a deep pass does all there is to do, and the next one writes nothing and says the same."""
        if name == OTHER_OWNER and self.keeps_ledger:
            return
        actor = self.actors[name]
        held, document = self.everything()[self.account.ids["web"]]
        self.rights.begin(actor, self.account.ids["web"], document)
        container = self.account.ids["web"]
        spots = [EntryAddress(container, slot) for slot in held.keys() | actor.files.keys()]
        fates = {spot: self.rights.fates(actor, spot, held.get(spot.slot)) for spot in spots}
        first = self.run(actor, deep=True)
        self.converged(actor, fates, held, first)
        self.account.calls.clear()
        again = self.run(actor, deep=True)
        assert again.changes == ()
        assert {call.method for call in self.account.calls} <= {"listing", "lookup"}
        assert again.refused == first.refused
        assert again.reported == first.reported

    def converged(
        self, actor: OwnerMachine, fates: Fates, before: dict[RemoteKey, StoredEntry], plan: TargetPlan
    ) -> None:
        now = self.account.held["web"]
        reported, refused = slots_of(plan.reported), slots_of(plan.refused)
        assert all(refusal.reason for refusal in plan.refused)
        for spot, fate in fates.items():
            slot = spot.slot
            if slot in reported:
                assert self.drift == "report"
                assert self.rights.may_be_drift(actor, spot, before.get(slot)), (spot, before.get(slot))
            elif slot in refused:
                assert ExpectedFate.REFUSED in fate, (spot, before.get(slot), fate)
            else:
                assert self.fate_of(actor, slot, before.get(slot), now.get(slot)) & fate, (spot, before.get(slot), fate)

    def fate_of(
        self, actor: OwnerMachine, slot: RemoteKey, before: StoredEntry | None, now: StoredEntry | None
    ) -> set[ExpectedFate]:
        """What became of an entry that was not refused."""
        if slot in actor.files:
            assert now is not None
            assert now.content.value.decode() == actor.files[slot]
            assert self.rights.is_signed(actor, EntryAddress(self.account.ids["web"], slot), now.mark), (slot, now)
            return {ExpectedFate.AS_DESIRED}
        if now is None and before is not None:
            return {ExpectedFate.DELETED}
        assert now == before
        return {ExpectedFate.ALONE}


def slots_of(items: Iterable[Change | Refusal]) -> set[RemoteKey]:
    """The entries that changes or refusals are of."""
    return {RemoteKey(*one.identity) for one in items}


@pytest.mark.hypothesis
@pytest.mark.parametrize("kind", EXAMPLES)
def test_only_what_is_proven_ours_is_touched(kind: str) -> None:
    """Whatever becomes of places, marks, ledgers and owner keys, passes keep to the table in `docs/safety.md`."""
    run_state_machine_as_test(
        partial(Ownership, kind),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples(EXAMPLES[kind]),
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
