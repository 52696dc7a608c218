"""Reconciles one target in one pass.

    files --load--> desired ------------------------.
                                                     compare --> look closer --> plan --> guard --> apply --> record
    store --observe--> actual --our marks on it-----'                               \\--render (a dry run stops here)

0. recover: if only the ledger knows what is ours, find out what a killed run wrote;
1. observe: list the namespace, or learn from the store that nothing changed since the last clean pass;
2. mark: if a store has no marks, take them from the ledger: this machine's, merged with the store's;
3. compare: the fingerprints of both sides; nearly all entries end here;
4. look closer: read what differs, and what was last applied of it;
5. plan: classify each difference three ways, apply the policy, guard;
6. apply: every change with the version it was planned against, one outcome each;
7. record: what is ours now, what must wait, whether the pass was clean, and last the ledger that the store keeps.
"""

from typing import TYPE_CHECKING

from kvsync.util.lazy_names import lazy_names

if TYPE_CHECKING:
    from kvsync.planning.pass_target import PassTarget
    from kvsync.reconcile.context import ApplyOptions, PassContext
    from kvsync.reconcile.reports import empty_plan, target_report, with_restore_point, withheld
    from kvsync.reconcile.target_pass import TargetPass

__all__ = [
    "ApplyOptions",
    "PassContext",
    "PassTarget",
    "TargetPass",
    "empty_plan",
    "target_report",
    "with_restore_point",
    "withheld",
]

if not TYPE_CHECKING:  # else type checkers would accept every name
    __getattr__ = lazy_names(
        __name__,
        {
            "context": "ApplyOptions PassContext PassTarget",
            "reports": "empty_plan target_report with_restore_point withheld",
            "target_pass": "TargetPass",  # nosec B105 - the name of a class
        },
    )
