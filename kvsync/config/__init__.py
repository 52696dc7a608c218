"""Configuration: `kvsync.yaml`, its overlays, and the rights of state files."""
