"""What holds for all tests."""

from hypothesis import settings

# How long an example takes says how busy the machine is, nothing about kvsync.
settings.register_profile("kvsync", deadline=None)
settings.load_profile("kvsync")
