"""Notifications about drift, parked plans, failures and recovery, sent to the configured channels.

    pass ──> facts of a target ──> state of a channel: facts against what was sent ──> due ──> message ──> receiver
                                                       ^                                           |
                                                       '----------- sent, kept in the state directory'

There is no queue. After every change, a channel compares the current facts with what it last sent to its receiver, and sends
the difference in one message; what could not be sent stays different. So a lasting state is sent once, even across restarts,
a receiver that was away for a day gets the current state instead of the history, and memory is bounded by the targets. No
pass waits for a notification or fails because of one. Values and keys are never sent.
"""
