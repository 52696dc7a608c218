"""Git source: fetches a repository, verifies its newest commit, and checks it out atomically."""

from kvsync.git.clone_directory import Place
from kvsync.git.model import Fetched, Refused, Status
from kvsync.git.source import Checkout
from kvsync.git.status import read_status

__all__ = ["Checkout", "Fetched", "Place", "Refused", "Status", "read_status"]
