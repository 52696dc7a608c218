"""Apify key-value stores (API v2): the part of the Apify API that is about records."""
