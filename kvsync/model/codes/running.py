"""Codes about the state directory, the machine, replicas, and kvsync itself."""

from __future__ import annotations

from typing import Final

from kvsync.errors import ErrorCode
from kvsync.model.codes.model import CodeDescription, Descriptions

STATE: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.STATE_UNUSABLE,
        "State cannot be used",
        "The state directory is not writable, is full, or its database is damaged; or the PostgreSQL server of the state does"
        " not respond.",
        "The message says which. Free some space, correct the permissions, or restore a copy; the message names what a new"
        " start would lose.",
    ),
    CodeDescription(
        ErrorCode.STATE_IN_USE,
        "State directory in use",
        "Another kvsync process that writes, usually the daemon, holds the lock of the state directory.",
        "While a daemon runs, use `approve`, `pause`, `resume` and `undo`, which need no lock. Otherwise wait until the"
        " other process ends, or stop it. There is nothing to unlock by hand.",
    ),
    CodeDescription(
        ErrorCode.STATE_LOST,
        "State directory was replaced",
        "The state directory was removed or restored while kvsync used it. Anything that it recorded now would be lost.",
        "Restart kvsync. A supervisor such as systemd usually does.",
    ),
    CodeDescription(
        ErrorCode.STATE_ROLLED_BACK,
        "Shared state was rolled back",
        "The PostgreSQL database of the state has lost committed transactions, for example in a failover without"
        " synchronous replication. The replica stops writing until every earlier lease has ended.",
        "Wait; kvsync continues automatically. Use synchronous replication for the state.",
    ),
    CodeDescription(
        ErrorCode.STATE_NEWER,
        "State of a newer version",
        "A newer kvsync has changed the format of the state, and this version cannot read it.",
        "Upgrade kvsync, or restore the copy of the state that was made before the upgrade.",
    ),
    CodeDescription(
        ErrorCode.STATE_UNTRUSTED,
        "State directory is not trusted",
        "Other users can write to the state directory, it is part of the repository, or it is not a directory. Approvals in it"
        " could be forged.",
        "Follow the message: correct the owner or the permissions, or set another `state_dir`.",
    ),
    CodeDescription(
        ErrorCode.SHORTAGE,
        "Machine is out of a resource",
        "The disk is full or read-only, or memory, threads or open files have reached a limit.",
        "Free the resource, or raise the limit that the message names.",
    ),
)

REPLICAS: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.OTHER_LEADER,
        "Another replica leads",
        "Replicas share a lease, and another one holds it. Nothing was written.",
        "Run the command on the leader, which the message names.",
    ),
    CodeDescription(
        ErrorCode.STANDBY,
        "This replica is a standby",
        "The command acts on the state of the leader, and this replica is not the leader.",
        "Run the command on the leader.",
    ),
    CodeDescription(
        ErrorCode.LEASE_NOT_HELD,
        "Lease not held",
        "A write was not sent, because this replica does not hold the lease, or would lose it before the write is"
        " complete. Nothing was written.",
        "Nothing: the leader makes the change. If no replica leads, run `kvsync doctor`, which checks the lease.",
    ),
    CodeDescription(
        ErrorCode.TARGET_CLAIMED,
        "Another replica holds the target",
        "Replicas share the state, and another one, or another command, works on this target.",
        "Wait, or let the other replica do the work.",
    ),
    CodeDescription(
        ErrorCode.CLAIM_LOST,
        "Claim of the target lost",
        "The claim of this replica on the target ended during the pass. Nothing was recorded, and nothing more is written.",
        "Nothing: the replica that holds the target now continues. If it happens often, check the connection to the"
        " database of the state.",
    ),
)

KVSYNC: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.COMMAND_FAILED,
        "Command failed",
        "A command failed for the reason in the message: a file cannot be written, a program is missing, or a key is unknown.",
        "Follow the message.",
    ),
    CodeDescription(
        ErrorCode.BUG,
        "Bug in kvsync",
        "An error occurred that kvsync does not handle.",
        "Run the command again with `--log-level debug`, and report the traceback. It never contains values of entries.",
    ),
    CodeDescription(
        ErrorCode.BUG_IN_TARGET,
        "Bug while working on one target",
        "An error that kvsync did not expect ended the work on one target. Other targets continue. A write may have been sent;"
        " the next pass checks.",
        "Report the traceback in the log. For a store type of another package, report it to its authors.",
    ),
)
