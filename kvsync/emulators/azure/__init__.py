"""Emulator of Azure App Configuration: the data plane of one store."""
