"""Reconciles one target in one pass.

    files --load--> desired ------------------------.
                                                     compare --> look closer --> judge --> plan --> guard --> apply --> record
    store --observe--> actual --our marks on it-----'                               \\--render (a dry run stops here)

0. recover: where only the ledger knows what is ours, find out what a killed run wrote;
1. observe: everything the store holds of the namespace, or its word that nothing changed since the last clean pass;
2. mark: where a store has no room for our marks, the ledger says what is ours: this machine's, made one with the store's own;
3. compare: the cheap views; nearly all entries end here;
4. look closer: read what differs, and what was last applied of it;
5. plan: judge each difference three ways, sort by policy, guard;
6. apply: every change with the version it saw, one outcome each;
7. record: what is ours now, what must wait, and whether the pass was clean; last, the ledger that the store keeps.
"""

from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile.context import ApplyOptions, PassContext
from kvsync.reconcile.reports import empty_plan, target_report, withheld
from kvsync.reconcile.target_pass import TargetPass

__all__ = [
    "ApplyOptions",
    "PassContext",
    "PassTarget",
    "TargetPass",
    "empty_plan",
    "target_report",
    "withheld",
]
