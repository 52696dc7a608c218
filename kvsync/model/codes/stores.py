"""Codes about answers of stores."""

from __future__ import annotations

from typing import Final

from kvsync.errors import ErrorCode
from kvsync.model.codes.model import CodeDescription, Descriptions

STORES: Final[Descriptions] = (
    CodeDescription(
        ErrorCode.STORE_ERROR,
        "Store error",
        "A store type that is installed as a package reported an error that has no more precise code.",
        "Read the message. If it does not help, ask the authors of the package.",
    ),
    CodeDescription(
        ErrorCode.STORE_UNAVAILABLE,
        "Store unavailable",
        "The store cannot be reached, answers with a server error or a rate limit, or something else answers in its"
        " place, such as a proxy. Nothing was changed, and kvsync tries again with increasing pauses.",
        "Wait, or run `kvsync doctor`. If the problem lasts, check the endpoint, the network, and the status page of the"
        " service.",
    ),
    CodeDescription(
        ErrorCode.LOST_ANSWER,
        "Response lost",
        "A write was sent, but no usable response came, so it may or may not have taken effect. kvsync reads the entry before"
        " it writes again.",
        "Usually nothing: the next pass reads the entry. If it happens often, check the network and any proxies on the way.",
    ),
    CodeDescription(
        ErrorCode.ANSWER_TOO_LONG,
        "Response too long",
        "A response is longer than the limit that protects the memory of kvsync.",
        "Split the namespace, or shorten the values. The message names the limit.",
    ),
    CodeDescription(
        ErrorCode.CREDENTIAL_REJECTED,
        "Credential rejected",
        "The service does not accept the credential: it is wrong, has expired, was revoked or lacks a permission, or the"
        " clock of this machine is wrong.",
        "Run `kvsync doctor`, which names the missing permission where the service says so. Replace the credential; it is read"
        " again automatically.",
    ),
    CodeDescription(
        ErrorCode.REQUEST_REJECTED,
        "Request rejected",
        "The store rejected a request, and the same request would be rejected again. Other targets continue.",
        "The message quotes the server. Correct the endpoint, the options of the store, or the namespace.",
    ),
    CodeDescription(
        ErrorCode.BATCH_REJECTED,
        "Batch rejected",
        "The store rejected a call as a whole and wrote nothing of it. kvsync splits the batch until it finds the entry that"
        " causes the rejection.",
        "Correct the entry that the message names. If the store is full, delete entries or upgrade its plan.",
    ),
    CodeDescription(
        ErrorCode.NAMESPACE_MISSING,
        "Namespace missing",
        "The namespace does not exist, or was deleted or replaced while kvsync used it. kvsync neither reads nor writes"
        " under this name until it resolves to a namespace again.",
        "Correct `namespace` in the state file, create it, or let kvsync create it with `create_namespaces`.",
    ),
    CodeDescription(
        ErrorCode.ENTRY_UNREADABLE,
        "Entry cannot be read",
        "Some entries could not be read, while others could. Changes to these entries wait.",
        "Run `kvsync explain KEY`. If the store keeps refusing, check the permissions of the credential for this key.",
    ),
    CodeDescription(
        ErrorCode.ENTRY_DAMAGED,
        "Entry cannot be decoded",
        "The store holds a value in an encoding that kvsync does not know, or that is damaged. kvsync leaves it unchanged.",
        "Correct or delete the entry in the store.",
    ),
    CodeDescription(
        ErrorCode.INCOMPLETE_LISTING,
        "Listing incomplete",
        "The store did not list all of its entries, so an entry that is missing from the listing may still exist. The"
        " changes of the target wait for approval.",
        "Wait for the next pass, which lists again. If the listing stays incomplete, run `kvsync doctor`.",
    ),
)
