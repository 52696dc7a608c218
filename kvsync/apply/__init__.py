"""Applies the changes of one target and returns one outcome per change.

    changes ──> calls of a size the store takes ──> deliveries (several at once, as fast as the store bears) ──> outcomes
                                                     read again, record the intent, send, look into what is unclear

`engine` orders and spreads, `delivery` takes one call to its outcomes, `book` keeps the journal and the report, `undo` turns
a run around. Nothing is sent that the journal does not hold, and nothing is sent without the version it was planned against.
"""
