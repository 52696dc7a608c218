"""HTTP client shared by all stores with a web API.

    store ──Request──> Client ──> read-only? ──> rate ──> in flight ──> credential ──> Transport ──> Response, or an error

`client` sends calls and knows when to repeat them: reads, within a budget; writes never, for that is the Applier's to decide.
`transport` is the one module that imports an HTTP library. `failures` turns what goes wrong into our errors, in one table.
Nothing here knows a store, and no message holds a query, a header or a body.
"""
