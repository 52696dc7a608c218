"""Codes about the command line, the configuration, the state files, and what state files may do."""

from __future__ import annotations

from typing import Final

from kvsync.errors import ErrorCode
from kvsync.model.codes.model import CodeDescription, Descriptions

FILES: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.USAGE,
        "Invalid command line",
        "An option, an argument or their combination is not valid, or names a target, a run or a plan that does not exist.",
        "Read the message, which often suggests the nearest valid name, and run the command with `--help`.",
    ),
    CodeDescription(
        ErrorCode.INVALID,
        "Invalid file",
        "`kvsync.yaml`, an overlay or a state file breaks a rule of YAML or of kvsync. The message names the file, the"
        " line and the column. The targets of a state file with a problem keep their last good state.",
        "Correct the line, and run `kvsync validate`, which lists all problems together. An editor that uses"
        " `kvsync schema state` shows many of them while you type.",
    ),
    CodeDescription(
        ErrorCode.UNREADABLE,
        "File or folder cannot be read",
        "A file is missing, is not accessible to the user that runs kvsync, is larger than a limit, is outside the"
        " folders that kvsync reads, or is a link that kvsync does not follow. The file can be the configuration, a state"
        " file, or a file that a value is read from.",
        "Correct the path or the permissions. If a limit is too low, raise it in `limits`.",
    ),
    CodeDescription(
        ErrorCode.CONTRADICTION,
        "Two definitions contradict each other",
        "The same key, name or policy is defined twice, or the order that `after` defines has a cycle.",
        "The message names both lines. Keep one definition, or break the cycle.",
    ),
    CodeDescription(
        ErrorCode.UNKNOWN_FIELD,
        "Unknown field",
        "A mapping has a field that kvsync does not know. Often the name is misspelled, or a mapping that should be stored as"
        " data is written where options are expected.",
        "Correct the name; the message suggests the nearest one. To store a mapping as data, write `{json: …}`.",
    ),
    CodeDescription(
        ErrorCode.MISSING_FIELD,
        "Missing field",
        "A required field is missing.",
        "Add the field. The hint in the message says what it is for.",
    ),
    CodeDescription(
        ErrorCode.DUPLICATE_KEY,
        "Duplicate key",
        "The same key appears twice in one mapping. YAML parsers silently keep one of them; kvsync does not guess which.",
        "Remove one of the two. The message names the line of the first.",
    ),
    CodeDescription(
        ErrorCode.UNEXPECTED_VALUE,
        "Unexpected value",
        "A field has a value of another type or form than expected, such as text where a duration is needed.",
        "Write a value of the form that the message names.",
    ),
    CodeDescription(
        ErrorCode.SOURCE_UNAVAILABLE,
        "Repository not available",
        "The Git repository of `source.git` cannot be fetched: the server does not respond, the credential or the host key is"
        " refused, or the branch does not exist. The last good commit stays in use.",
        "The message quotes git. Correct `source.git`, the credential or the network; kvsync tries again automatically.",
    ),
    CodeDescription(
        ErrorCode.SOURCE_TOO_LARGE,
        "Repository too large",
        "git printed more than kvsync keeps in memory, because the folder of `source.git.path` has very many files.",
        "Set `source.git.path` to the folder that holds `kvsync.yaml` and the state files.",
    ),
    CodeDescription(
        ErrorCode.COMMIT_REJECTED,
        "Commit rejected",
        "The newest commit must not be used: its signature is missing or not trusted, the history was rewritten, or it"
        " does not contain `source.git.min_commit`. The last good commit stays in use.",
        "Push a commit that meets the rules of `source.git.verify`, restore the history, or, if the change is intended, adjust"
        " the setting that the message names.",
    ),
    CodeDescription(
        ErrorCode.STORE_LIMIT,
        "Store cannot hold the entry",
        "A key is too long or has characters that the store does not allow, a value is too large, or a lifetime is too short.",
        "Change the entry. The message names the limit of the store, and `kvsync stores` lists all of them.",
    ),
    CodeDescription(
        ErrorCode.LEFT_OUT,
        "File possibly left out or misnamed",
        "A warning: kvsync probably does not use a file as it was meant. It does not read a file that looks like a state"
        " file if no pattern matches it, a file in a folder of `files:` whose name begins with a dot, or an overlay of"
        " `kvsync.yaml` for an environment that is not listed. It uses a state file in every environment, even if the"
        " file is named like an overlay for an environment that is not listed.",
        "Rename the file, correct `state` or `environments` in `kvsync.yaml`, or move the file to another folder.",
    ),
    CodeDescription(
        ErrorCode.WEAK_VALUE,
        "Sensitive value too weak to redact",
        "A warning: a sensitive value is shorter than 8 bytes, or consists of words that kvsync itself uses. kvsync"
        " therefore cannot recognise it in text, and does not redact it there.",
        "Use a longer, random value.",
    ),
)

AUTHORITY: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.NOT_ALLOWED,
        "Not allowed in a state file",
        "A state file loosens the policy of its store, reads an environment variable or a file that was not granted, or"
        " names a store or namespace that `authors` does not grant. More people write state files than `kvsync.yaml`, so"
        " state files are allowed to do less.",
        "Remove the line. If it is needed, an operator grants it in `kvsync.yaml`: see `authors`, and the policy of the store.",
    ),
    CodeDescription(
        ErrorCode.CONFIGURATION_CHANGE,
        "Change edits the configuration",
        "`kvsync validate --as-author` found that the change also edits `kvsync.yaml` or one of its overlays, which decide what"
        " state files may do.",
        "Have an operator review the change. The message says what the change widens.",
    ),
)
