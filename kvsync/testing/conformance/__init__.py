"""Conformance suite: tests of everything that kvsync relies on in a store.

    from kvsync import Store, StoreContext
    from kvsync.testing import FakeClock, StoreConformance

    class TestMyStore(StoreConformance):
        capabilities = MyStore.capabilities

        def open_store(self, clock: FakeClock) -> Store:
            return MyStore(config, StoreContext(..., clock=clock, ...))

pytest runs it without a plugin. Each test opens one or more connections to a remote of its own. Tests that do not apply to the
capabilities of the store are left out; `TestMyStore.left_out` says which, and why. Override more methods of `Suite` to let the
suite write as another program or make the remote fail; more tests apply then.

The tests run in the order in which you write a store (`SuiteStep`). Once a test fails, the tests of later steps are skipped, so
that the first failure says what to implement next.
"""

from __future__ import annotations

from kvsync.testing.conformance.conflicts import Conflicts
from kvsync.testing.conformance.faults import Faults
from kvsync.testing.conformance.harness import StoreHarness
from kvsync.testing.conformance.ledgers import LedgersInStores
from kvsync.testing.conformance.lifetimes import LifetimesOfEntries
from kvsync.testing.conformance.listing import Listings
from kvsync.testing.conformance.marks import MarksOfOwners
from kvsync.testing.conformance.places import PlacesOfTargets, Seals
from kvsync.testing.conformance.suite import Suite, SuiteStep
from kvsync.testing.conformance.versions import Versions
from kvsync.testing.conformance.writing import Writing

__all__ = ["StoreConformance", "StoreHarness", "Suite", "SuiteStep"]


class StoreConformance(
    Writing,
    Listings,
    Versions,
    Conflicts,
    LifetimesOfEntries,
    MarksOfOwners,
    Seals,
    PlacesOfTargets,
    LedgersInStores,
    Faults,
):
    """All conformance tests. Subclass it for your store; the docstring of `kvsync.testing.conformance` has an example."""
