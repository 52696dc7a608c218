"""Azure App Configuration: the data plane of one configuration store."""
