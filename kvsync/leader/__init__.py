"""Leader election: only the replica that holds the lease may write.

    Elector ──claim──> Keeper (etcd, or the API of Kubernetes)
       │                  └─ ours, or who leads
       ├─ Election: what the answers mean at this moment, by this machine's own steady clock
       └─ seconds_left ──> Fence: asked right before every call that writes

`election` is pure: what may be written until when. `elector` claims again and again, and says what changed. The keepers only
translate; how long the lease lasts without a word of the leader is for etcd to measure, and with Kubernetes for whoever waits.

Two replicas never write at the same time as long as no clock runs a tenth faster than another: the leader counts from before
it asked, begins nothing after `renew_within`, and breaks off what is in flight a tenth of the lease before its end; whoever
waits counts from after it saw the last sign of life. What a paused process had handed to the network before it was paused
can be kept from a store by its preconditions alone.
"""
