"""Leader election: only the replica that holds the lease may write.

    Elector ──claim──> LeaseStore (etcd, or the API of Kubernetes)
       │                  └─ ours, or who leads
       ├─ Election: what the answers mean at this moment, by this machine's own steady clock
       └─ seconds_left ──> Fence: asked right before every call that writes

`election` is pure: until when this replica may write. `elector` claims the lease repeatedly and reports changes. The lease
stores only translate. etcd itself measures when a lease that was not renewed ends; with Kubernetes, each waiting replica does.

Two replicas never write at the same time as long as no clock runs a tenth faster than another: the leader counts from before
it asked, begins nothing after `renew_within`, and aborts what is in flight a tenth of the lease before its end. A waiting
replica counts from after it saw the last renewal. A request that a process handed to the network before it was paused can
still arrive; only the preconditions of the write keep it from overwriting something.
"""
