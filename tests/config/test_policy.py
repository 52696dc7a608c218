"""Policies override each other line by line, and lines that are not written stay as they are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kvsync.config.policy import POLICY_FIELDS, override
from kvsync.model.policy import Adopt, DriftAction, DriftPolicy, Guard, Policy, Prune
from kvsync.yaml.fields import Problems, decode
from kvsync.yaml.parse import parse

LINES = {
    "prune": ["owned", "off", "scope"],
    "adopt": ["never", "if-equal", "always"],
    "drift": ["heal", "report", "{drifted: gate}", "{missing: report, conflict: gate}"],
    "guard": ["{grace: 5m}", "{max_deletes: 3, min_existing: 1}", "{max_delete_pct: 1%, max_update_pct: 2}", "{}"],
    "ignore": ["[]", "[a, 'b/*']"],
}
policies = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in LINES.items()})


def decoded(lines: dict[str, str]) -> dict[str, Any]:
    problems = Problems("f")
    source = "".join(f"{name}: {value}\n" for name, value in lines.items()) or "{}"
    values = decode(parse(source.encode(), "f")[0], POLICY_FIELDS, problems)
    problems.raise_if_any()
    return values


def test_nothing_written() -> None:
    """A policy without lines changes nothing, and neither does none at all."""
    policy = Policy(prune=Prune.OFF, ignore=("x",))
    assert override(policy, {}) == override(policy, None) == policy


def test_one_word_for_all_classes() -> None:
    """One word of drift holds for every class; a mapping for those it names."""
    gated = override(Policy(), decoded({"drift": "gate"}))
    assert gated.drift == DriftPolicy(DriftAction.GATE, DriftAction.GATE, DriftAction.GATE)
    mixed = override(gated, decoded({"drift": "{missing: report}"}))
    assert mixed.drift == DriftPolicy(DriftAction.GATE, DriftAction.REPORT, DriftAction.GATE)


def test_single_limits() -> None:
    """A limit of the guard replaces that limit alone."""
    policy = override(Policy(guard=Guard(max_deletes=7)), decoded({"guard": "{grace: 5m}", "adopt": "never"}))
    assert policy == Policy(adopt=Adopt.NEVER, guard=Guard(max_deletes=7, grace=300))


@given(policies, policies)
def test_only_what_is_written_changes(first: dict[str, str], second: dict[str, str]) -> None:
    """A line of the second policy is as if alone, where the first has none; lines it lacks stay the first's."""
    base = override(Policy(), decoded(first))
    both = override(base, decoded(second))
    assert all(getattr(both, name) == getattr(base, name) for name in LINES if name not in second)
    assert override(both, decoded(second)) == both
