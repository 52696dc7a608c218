"""The real command in processes of its own."""

from tests.cli.conftest import runner

__all__ = ["runner"]
