"""HTTP client shared by all stores with a web API.

    store ──Request──> Client ──> read-only? ──> rate ──> in flight ──> credential ──> Transport ──> Response, or an error

`client` sends requests and retries reads, within a budget; it never retries writes, because the applier decides about those.
`turns` decides when a request may be sent. `transport` is the only module that imports an HTTP library. `failures` maps
statuses to errors, in one table. `shared_token` keeps a token that all calls in flight share. `entra` signs in to Microsoft
Entra ID, `etcd` is the wire format that the store and the leader election share; nothing else here knows a service. No
message contains a query, a header or a body.
"""
