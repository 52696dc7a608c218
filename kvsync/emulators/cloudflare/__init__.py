"""Emulator of Cloudflare Workers KV: the REST API of one account."""
