"""Applies the changes of one target and returns one outcome per change.

    changes ──> calls of a size that the store accepts ──> several at once, as fast as the store allows ──> outcomes
                                                     read again, record the intent, send, resolve unclear results

`engine` orders and distributes the changes, `batch` sends one call, `outcomes` writes the journal and the report, `moves` holds
deletes back until the new key was read, `invert` makes the steps of an undo. Nothing is sent before its intent is in the
journal, and nothing without the version that it was planned against.
"""
