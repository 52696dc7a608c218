"""Notifications about drift, parked plans, failures and recovery, sent to the configured channels.

    pass ──> facts of a target ──> book of a channel: what is so against what was told ──> due ──> letter ──> post ──> receiver
                                                          ^                                                      |
                                                          '------------------- told, kept in the state directory '

There is no queue. A channel compares, whenever something changed, what is so with what its receiver was told last, and tells
the difference in one message; what could not be told stays different. So a state that lasts is told once, across restarts
too, a receiver that is away for a day hears how things stand and not what happened a day long, and what is kept is bounded by
the targets. No pass waits for any of it, and nothing here makes one fail. Values and keys are never told.
"""
