"""Applies the changes of one target and returns one outcome per change.

    changes ──> calls of a size the store takes ──> several at once, as fast as the store bears ──> outcomes
                                                     read again, record the intent, send, look into what is unclear

`engine` orders and spreads, `batch` takes one call to its outcomes, `outcomes` keeps the journal and the report, `moves` holds
back deletes until the new key was read, `invert` makes the steps of an undo. Nothing is sent that the journal does not hold,
and nothing is sent without the version it was planned against.
"""
