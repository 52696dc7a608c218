"""Key-value storage of a Voximplant application.

store            the seam: what kvsync asks, in the order in which it is asked
place            what a namespace is: endpoint, account, application, and what its keys begin with
applications     the application behind a configured id or name, looked up again as names move
remote           one client, one turn after the other for all who share an account, and the storage of an application
service_account  the key file, and the tokens that are signed with it
answers          what the API means by its answers
listing          entries by the fifty, however the pages move meanwhile
writing          one entry at a time, with a lifetime that the service may keep
shelf            the ledger in the store: pieces next to the entries of a namespace
pieces           from a ledger to pieces that fit into values, and back
doctor           key file, token, clock, application, permission and ledgers distinguished
"""

from kvsync.stores.voximplant.store import VoximplantStore

__all__ = ["VoximplantStore"]
