"""kvsync keeps key-value stores in sync with YAML files in a Git repository.

The names in `__all__` are the public API, kept by semantic versioning: what authors of stores need, and what programs need that
plan and apply without the command line. Everything else may change in any release. `docs/api.md` is the reference.

Each name is imported when it is first used, so that `kvsync --version` does not pay for the rest.
"""

__version__ = "1.0.0rc1"

TYPE_CHECKING = False  # type checkers take it for True; importing it from `typing` would cost time at every start

if TYPE_CHECKING:
    from kvsync.app.model import Report, TargetSelection, resolve_targets
    from kvsync.app.open import open_workspace
    from kvsync.app.workspace import Workspace
    from kvsync.config.model import Credential, StoreConfig
    from kvsync.errors import (
        AuthError,
        BatchRefused,
        ErrorCode,
        InvalidInput,
        KvsyncError,
        LockHeld,
        LostAnswer,
        NotLeader,
        Origin,
        PermanentError,
        Problem,
        SourceError,
        StateDirError,
        StoreError,
        TransientError,
        UsageError,
    )
    from kvsync.model.canonical import fingerprint
    from kvsync.model.capabilities import Capabilities, Lifetimes, Marks, SizeUnit
    from kvsync.model.change import Action, Change, Class, Outcome, OutcomeKind, Refusal
    from kvsync.model.entry import Actual, Content, Entry, Identity, Mark, Mode, Target
    from kvsync.model.health import DoctorCheck, Traffic
    from kvsync.model.key_format import KeyFormat
    from kvsync.model.pass_options import PassOptions
    from kvsync.model.place import KeyScope, Place, origin_of
    from kvsync.model.plan import Cost, Plan, Stats, TargetPlan, TargetReport
    from kvsync.model.snapshot import Snapshot, snapshot_of
    from kvsync.planning.marks import MarkSigner, seal_from_text, seal_to_text
    from kvsync.stores.base import Precondition, Store, StoreContext, Write, WriteResult, WriteStatus
    from kvsync.stores.extensions import (
        DeepObservable,
        FilteredListing,
        KeyListing,
        LedgerKeeping,
        NamespaceDeleting,
        NamespaceIds,
        NamespaceRenaming,
        NestedNamespaces,
        PlaceResolving,
        QuotaReporting,
        RestorePointMaking,
        Scannable,
        TokenChecking,
        VersionHints,
        Watchable,
    )
    from kvsync.stores.limits import check_batch, check_entry
    from kvsync.util.clock import Clock
    from kvsync.util.write_fence import Fence
    from kvsync.yaml import fields
    from kvsync.yaml.fields import Field

__all__ = [
    "Action",
    "Actual",
    "AuthError",
    "BatchRefused",
    "Capabilities",
    "Change",
    "Class",
    "Clock",
    "Content",
    "Cost",
    "Credential",
    "DeepObservable",
    "DoctorCheck",
    "Entry",
    "ErrorCode",
    "Fence",
    "Field",
    "FilteredListing",
    "Identity",
    "InvalidInput",
    "KeyFormat",
    "KeyListing",
    "KeyScope",
    "KvsyncError",
    "LedgerKeeping",
    "Lifetimes",
    "LockHeld",
    "LostAnswer",
    "Mark",
    "MarkSigner",
    "Marks",
    "Mode",
    "NamespaceDeleting",
    "NamespaceIds",
    "NamespaceRenaming",
    "NestedNamespaces",
    "NotLeader",
    "Origin",
    "Outcome",
    "OutcomeKind",
    "PassOptions",
    "PermanentError",
    "Place",
    "PlaceResolving",
    "Plan",
    "Precondition",
    "Problem",
    "QuotaReporting",
    "Refusal",
    "Report",
    "RestorePointMaking",
    "Scannable",
    "SizeUnit",
    "Snapshot",
    "SourceError",
    "StateDirError",
    "Stats",
    "Store",
    "StoreConfig",
    "StoreContext",
    "StoreError",
    "Target",
    "TargetPlan",
    "TargetReport",
    "TargetSelection",
    "TokenChecking",
    "Traffic",
    "TransientError",
    "UsageError",
    "VersionHints",
    "Watchable",
    "Workspace",
    "Write",
    "WriteResult",
    "WriteStatus",
    "__version__",
    "check_batch",
    "check_entry",
    "fields",
    "fingerprint",
    "open_workspace",
    "origin_of",
    "resolve_targets",
    "seal_from_text",
    "seal_to_text",
    "snapshot_of",
]

_NAMES = {
    "kvsync.app.model": "Report TargetSelection resolve_targets",
    "kvsync.app.open": "open_workspace",
    "kvsync.app.workspace": "Workspace",
    "kvsync.config.model": "Credential StoreConfig",
    "kvsync.errors": (
        "AuthError BatchRefused ErrorCode InvalidInput KvsyncError LockHeld LostAnswer NotLeader Origin PermanentError Problem"
        " SourceError StateDirError StoreError TransientError UsageError"
    ),
    "kvsync.model.canonical": "fingerprint",
    "kvsync.model.capabilities": "Capabilities Lifetimes Marks SizeUnit",
    "kvsync.model.change": "Action Change Class Outcome OutcomeKind Refusal",
    "kvsync.model.entry": "Actual Content Entry Identity Mark Mode Target",
    "kvsync.model.health": "DoctorCheck Traffic",
    "kvsync.model.key_format": "KeyFormat",
    "kvsync.model.pass_options": "PassOptions",
    "kvsync.model.place": "KeyScope Place origin_of",
    "kvsync.model.plan": "Cost Plan Stats TargetPlan TargetReport",
    "kvsync.model.snapshot": "Snapshot snapshot_of",
    "kvsync.planning.marks": "MarkSigner seal_from_text seal_to_text",
    "kvsync.stores.base": "Precondition Store StoreContext Write WriteResult WriteStatus",
    "kvsync.stores.extensions": (
        "DeepObservable FilteredListing KeyListing LedgerKeeping NamespaceDeleting NamespaceIds NamespaceRenaming"
        " NestedNamespaces PlaceResolving QuotaReporting RestorePointMaking Scannable TokenChecking VersionHints"
        " Watchable"
    ),
    "kvsync.stores.limits": "check_batch check_entry",
    "kvsync.util.clock": "Clock",
    "kvsync.util.write_fence": "Fence",
    "kvsync.yaml": "fields",
    "kvsync.yaml.fields": "Field",
}
"""Module -> the public names in it."""

_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # else type checkers would accept every name

    def __getattr__(name: str) -> object:
        """Import a public name on first use."""
        if (module := _MODULE_OF.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = import_module(module)
        found = import_module(f"{module}.{name}") if module == "kvsync.yaml" else getattr(home, name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        """List the public names too, for completion in a shell."""
        return sorted({*globals(), *__all__})
