"""kvsync keeps key-value stores in sync with YAML files in a Git repository."""

__version__ = "0.1.0"
