"""Who leads: by steady clocks that run at different rates, with answers that are late, lost, or overtaken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kvsync.leader.election import Election, Renewal, RenewalWatch
from kvsync.leader.model import MARGIN, LeaseClaim, Timing
from tests.support.examples import examples

TIMING = Timing(10, 7, 2)
OURS = LeaseClaim("us", is_ours=True, duration=10)
THEIRS = LeaseClaim("them")


@pytest.mark.parametrize(
    ("now", "left"), [(100, 9), (104, 5), (106.9, pytest.approx(2.1)), (107, 0), (108, 0), (110, 0)]
)
def test_what_may_be_written_until_when(now: float, left: float) -> None:
    """Counted from the question: writes begin for `renew_within`, and are over a tenth of the lease before its end."""
    election = Election(TIMING)
    election.record_answer(OURS, asked_at=100, now=100)
    assert election.seconds_left(now) == left


def test_a_renewal_counts_from_its_own_question() -> None:
    """Each renewal moves the end to where it would be had the answer come at once."""
    election = Election(TIMING)
    election.record_answer(OURS, asked_at=0, now=1)
    election.record_answer(OURS, asked_at=5, now=6)
    assert election.seconds_left(6) == 8
    assert election.seconds_left(12) == 0


def test_an_answer_that_comes_too_late_makes_no_leader() -> None:
    """Who was paused while it asked does not lead by the answer it finds."""
    election = Election(TIMING)
    election.record_answer(OURS, asked_at=0, now=7)
    assert not election.leads
    assert election.seconds_left(7) == 0


def test_who_hears_of_another_leader_stops_at_once() -> None:
    """The word of the keeper ends what the clock would still allow."""
    election = Election(TIMING)
    election.record_answer(OURS, asked_at=0, now=0)
    election.record_answer(THEIRS, asked_at=1, now=1)
    assert (election.leads, election.leader, election.seconds_left(1)) == (False, "them", 0)


def test_stepping_down_is_news_once() -> None:
    """A lease that could not be renewed is lost once, and not before its time."""
    election = Election(TIMING)
    election.record_answer(OURS, asked_at=0, now=0)
    assert [election.expire(6.9), election.expire(7), election.expire(8)] == [False, True, False]


def test_a_shorter_lease_than_asked_for_is_what_counts() -> None:
    """Where the keeper grants less, everything is over sooner; more than was asked for is not used."""
    election = Election(TIMING)
    election.record_answer(replace(OURS, duration=5), asked_at=0, now=0)
    assert (election.seconds_left(3), election.seconds_left(3.5)) == (1.5, 0)
    election.record_answer(replace(OURS, duration=60), asked_at=0, now=0)
    assert election.seconds_left(0) == 9


def test_a_record_that_changes_is_a_sign_of_life() -> None:
    """The lease of another counts as ended once its record was seen to stay the same for the whole of its duration."""
    watch = RenewalWatch(10)
    assert watch.left(Renewal("a", 10), 100) == 10
    assert watch.left(Renewal("a", 10), 109) == 1
    assert watch.left(Renewal("b", 10), 110) == 10
    assert watch.left(Renewal("b", 10), 120) == 0
    assert watch.left(Renewal("c", 30), 121) == 30
    assert watch.left(Renewal("d", 1), 122) == 10, "a leader may have another configuration than this replica"


# -- any number of replicas, any order of events ---------------------------------------------------------------------------


class Register(Protocol):
    """What keeps the lease in the model: a claim is answered at one moment of true time, seen from the one who claims."""

    def answer(self, who: str, local: float, at: float) -> LeaseClaim: ...

    def free_at(self, who: Replica, at: float) -> float:
        """The true moment at which `who` may take it, as things stand."""


@dataclass
class Etcd:
    """Removes the key by its own clock."""

    rate: float
    leader: str | None = None
    ends: float = 0

    def answer(self, who: str, local: float, at: float) -> LeaseClaim:
        now = at * self.rate
        if self.leader is not None and now >= self.ends:
            self.leader = None
        if self.leader not in (None, who):
            return LeaseClaim(self.leader)
        self.leader, self.ends = who, now + TIMING.duration
        return LeaseClaim(who, is_ours=True, duration=TIMING.duration)

    def free_at(self, who: Replica, at: float) -> float:
        return self.ends / self.rate


@dataclass
class Kubernetes:
    """Knows no time; whoever waits measures it. Reading and writing are one step here: what lies between them the version
    guards, and a lost race is a claim that was not answered."""

    leader: str | None = None
    renewals: int = 0
    watches: dict[str, RenewalWatch] = field(default_factory=dict)

    def answer(self, who: str, local: float, at: float) -> LeaseClaim:
        watch = self.watches.setdefault(who, RenewalWatch(TIMING.duration))
        renewal = Renewal((self.leader, self.renewals), TIMING.duration)
        if self.leader not in (None, who) and watch.left(renewal, local) > 0:
            return LeaseClaim(self.leader)
        self.leader, self.renewals = who, self.renewals + 1
        return LeaseClaim(who, is_ours=True, duration=TIMING.duration)

    def free_at(self, who: Replica, at: float) -> float:
        watch = self.watches.setdefault(who.name, RenewalWatch(TIMING.duration))
        renewal = Renewal((self.leader, self.renewals), TIMING.duration)
        return at + watch.left(renewal, who.now(at)) / who.rate


@dataclass
class Replica:
    """One process: a clock of its own, and at most one claim under way."""

    name: str
    rate: float
    offset: float
    election: Election = field(default_factory=lambda: Election(TIMING))
    asked_at: float | None = None
    answer: LeaseClaim | None = None
    writes_until: float = 0
    """The true time by which everything that it sent has arrived or was broken off."""

    def now(self, at: float) -> float:
        return self.offset + at * self.rate


REPLICAS = ("a", "b")
NAMES = st.sampled_from(REPLICAS)
RATES = st.sampled_from([0.95, 1.0, 1.05])
"""Of clocks that run at different rates; the fastest of them gains a tenth on the slowest."""


class Elections(RuleBasedStateMachine):
    """Replicas claim, hear late or never, are paused, and write for as long as they believe that they may."""

    @initialize(
        rates=st.tuples(RATES, RATES),
        offsets=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
        keeper=st.one_of(st.builds(Etcd, RATES), st.builds(Kubernetes)),
    )
    def begin(self, rates: tuple[float, ...], offsets: tuple[float, ...], keeper: Etcd | Kubernetes) -> None:
        self.at, self.keeper = 0.0, keeper
        self.replicas = {
            name: Replica(name, rate, offset) for name, rate, offset in zip(REPLICAS, rates, offsets, strict=True)
        }

    @rule(seconds=st.one_of(st.floats(0.01, 3), st.floats(3, 15)))
    def wait(self, seconds: float) -> None:
        """Time passes, for a replica that does nothing meanwhile too: it is paused, or cut off."""
        self.at += seconds

    @rule(name=NAMES)
    def take_over(self, name: str) -> None:
        """Someone claims at the very moment at which the lease of another is over as far as it can tell."""
        one = self.replicas[name]
        self.at = max(self.at, self.keeper.free_at(one, self.at) + 1e-9)
        self.claim(name)

    @rule(name=NAMES)
    def ask(self, name: str) -> None:
        """A claim is sent; one that was under way is given up, whatever became of it."""
        one = self.replicas[name]
        one.asked_at, one.answer = one.now(self.at), None

    @rule(name=NAMES)
    def arrive(self, name: str) -> None:
        """The claim reaches the keeper."""
        one = self.replicas[name]
        if one.asked_at is not None and one.answer is None:
            one.answer = self.keeper.answer(name, one.now(self.at), self.at)

    @rule(name=NAMES)
    def hear(self, name: str) -> None:
        """The answer comes back."""
        one = self.replicas[name]
        if one.asked_at is not None and one.answer is not None:
            one.election.record_answer(one.answer, one.asked_at, one.now(self.at))
            one.asked_at = None
            self.write(one)

    @rule(name=NAMES, seconds=st.floats(0.1, 6))
    def claim_slowly(self, name: str, seconds: float) -> None:
        """The answer takes its time."""
        self.ask(name)
        self.arrive(name)
        self.wait(seconds)
        self.hear(name)

    def write(self, one: Replica) -> None:
        """Whoever may write does, for as long as it may: whatever it begins later is over at the same moment."""
        left = one.election.seconds_left(one.now(self.at))
        if left > 0:
            one.writes_until = self.at + left / one.rate

    @rule(name=NAMES)
    def claim(self, name: str) -> None:
        """All of that without a pause."""
        self.ask(name)
        self.arrive(name)
        self.hear(name)

    @precondition(lambda self: hasattr(self, "replicas"))
    @invariant()
    def never_two_writers(self) -> None:
        """While one may write nothing of another is on its way."""
        writing = [
            one.name
            for one in self.replicas.values()
            if one.election.seconds_left(one.now(self.at)) > 0 or one.writes_until > self.at + 1e-6
        ]
        assert len(writing) <= 1, writing


@pytest.mark.hypothesis
def test_never_two_writers() -> None:
    """However claims, answers and pauses fall, at no moment can the writes of two replicas meet."""
    run_state_machine_as_test(
        Elections, settings=settings(max_examples=examples(100), stateful_step_count=20, deadline=None)
    )


def test_the_clocks_in_the_model_are_as_bad_as_promised() -> None:
    """The model's clocks use up nearly all of what the margin is there for."""
    assert 0.9 < (1.05 / 0.95 - 1) / (1 / (1 - MARGIN) - 1) < 1
