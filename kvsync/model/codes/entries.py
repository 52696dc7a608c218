"""Codes about the ownership of entries, conflicts with other writers, and what waits for a person."""

from __future__ import annotations

from typing import Final

from kvsync.errors import ErrorCode
from kvsync.model.codes.model import CodeDescription, Descriptions

OWNERSHIP: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.UNOWNED,
        "Entry is not owned by kvsync",
        "The entry exists, and kvsync cannot prove that it wrote it: it has no ownership mark, a mark that was copied from"
        " another place, or content that kvsync did not write. kvsync does not overwrite or delete it.",
        "To take it over, run `kvsync adopt`, or set `policy.adopt`. To leave it, add its key to `policy.ignore`.",
    ),
    CodeDescription(
        ErrorCode.OTHER_OWNER,
        "Entry belongs to another owner",
        "The ownership mark names another `owner`: another configuration of kvsync manages this entry.",
        "Remove the key from one of the two configurations. To take it over for good, run `kvsync transfer --from-owner"
        " NAME`.",
    ),
    CodeDescription(
        ErrorCode.PROTECTED,
        "Entry is protected",
        "The entry has `protected: true`, so kvsync neither overwrites nor deletes it.",
        "Review the difference, then run the command with `--allow-protected`.",
    ),
    CodeDescription(
        ErrorCode.LOCKED,
        "Entry is locked in the store",
        "Someone locked the entry in the store, so the store would refuse a write.",
        "Unlock it in the store, or change the file so that it matches the store.",
    ),
    CodeDescription(
        ErrorCode.EXPIRES_TOO_SOON,
        "Entry expires too soon",
        "The entry expires so soon that the store accepts no write with that lifetime.",
        "Usually nothing: the entry is left to expire. To keep it, write a later `expires_at`.",
    ),
    CodeDescription(
        ErrorCode.MOVE_INCOMPLETE,
        "Old name is kept",
        "A move would delete the old name, but the entry under the new name is not owned by kvsync, so its content is not"
        " certain.",
        "Adopt the entry under the new name with `kvsync adopt`, or remove the move from `moved`.",
    ),
    CodeDescription(
        ErrorCode.DEFERRED,
        "Change is deferred",
        "kvsync tries the change later: the store refused it before, another writer keeps changing the entry back, the"
        " change was undone, or the entry must be written after another one that cannot be written yet.",
        "The message says which of these it is. To try it now, run the `kvsync resume` command that the message shows.",
    ),
    CodeDescription(
        ErrorCode.CONFLICT,
        "Another writer was faster",
        "The entry changed after the plan was made. kvsync did not overwrite it.",
        "Run `kvsync plan` again. The daemon plans the entry again automatically.",
    ),
    CodeDescription(
        ErrorCode.STALE,
        "Approved change no longer applies",
        "The plan that was approved or saved no longer fits: the files or the entry have changed since.",
        "Create a new plan, and have it reviewed.",
    ),
    CodeDescription(
        ErrorCode.CHANGE_REFUSED,
        "Change refused",
        "kvsync did not apply a difference because of a rule that protects the entry. `kvsync explain KEY` shows the"
        " rule, and `kvsync plan` shows the code of that rule.",
        "Follow the advice in the message.",
    ),
    CodeDescription(
        ErrorCode.CHANGE_FAILED,
        "Change failed",
        "The store did not apply this change. Other changes of the plan are not affected.",
        "The message quotes the store. kvsync tries again in the next pass; after repeated refusals it waits longer.",
    ),
    CodeDescription(
        ErrorCode.OUTCOME_UNKNOWN,
        "Outcome unknown",
        "The change was sent, and kvsync could not find out whether it took effect.",
        "Run `kvsync plan`, which reads the entry again. The daemon does so in the next pass.",
    ),
    CodeDescription(
        ErrorCode.PLACE_UNUSABLE,
        "Place cannot be written to",
        "The target resolves to a different place than the one that was planned, or two targets resolve to the same"
        " place. Nothing was written.",
        "Correct the store or namespace of one of the targets, and plan again.",
    ),
    CodeDescription(
        ErrorCode.PLACE_CHANGED,
        "Target resolves to a different place",
        "The names of the target resolve to a different place than in the last pass, such as another account or a namespace"
        " that was created again. kvsync treats every entry there as new, so it deletes nothing that it cannot prove to own.",
        "If you did not intend this, correct the store in `kvsync.yaml` before you apply the plan.",
    ),
    CodeDescription(
        ErrorCode.LEDGER_FOREIGN,
        "Ledger belongs to another owner",
        "The ledger in the store was written by another owner or by a newer version of kvsync, so it is neither read nor"
        " replaced.",
        "Use another namespace, set `owner` as it was, or upgrade kvsync. If the previous owner is gone, run `kvsync transfer"
        " --from-owner NAME`.",
    ),
    CodeDescription(
        ErrorCode.LEDGER_LOST,
        "Ledger in the store is lost",
        "The ledger in the store is damaged or incomplete, older than one that this machine knows, copied from another place,"
        " or not signed with `owner_key`. kvsync uses the ledger in the state directory instead, and deletes nothing.",
        "Run `kvsync apply`, which writes a complete ledger. If the store was not restored from a backup, check who can"
        " write to it.",
    ),
)

WAITING: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.PARKED,
        "Plan waits for approval",
        "The guard holds the plan of a target, because it deletes or updates more than the limits allow, empties the target, or"
        " is based on an incomplete listing. Nothing of it is applied.",
        "Look at the plan. If it is intended, run the `kvsync approve` command that the message shows. If not, correct the"
        " files: the plan is dropped automatically.",
    ),
    CodeDescription(
        ErrorCode.NOT_APPROVED,
        "Approval or confirmation missing",
        "The command needs a confirmation that was not given, or the approval that was given is not for the current plan.",
        "Add `--yes` in scripts, or approve the plan that is parked now: `kvsync status` shows it.",
    ),
    CodeDescription(
        ErrorCode.DELETES_WAITING,
        "Deletes wait for the hourly limit",
        "The plan deletes more entries than `run.max_deletes_per_hour` allows. The remaining deletes wait.",
        "Wait until the time in the message, or raise the limit.",
    ),
    CodeDescription(
        ErrorCode.EARLIER_WAVE,
        "Target waits for an earlier wave",
        "`waves` are configured, and an earlier wave is not finished, is baking, or has failed.",
        "Run `kvsync status` to see what the wave waits for.",
    ),
    CodeDescription(
        ErrorCode.OVERDUE,
        "Pass took too long",
        "A pass over one target exceeded its time limit, and was stopped. The next pass continues where it left off.",
        "If it happens often, split the target, or check why the store is slow.",
    ),
)
