"""Git source: fetches a repository, verifies its newest commit, and checks it out atomically."""

from kvsync.git.clone_directory import ClonePaths
from kvsync.git.model import CommitRefused, Fetched, Status
from kvsync.git.source import Checkout
from kvsync.git.status import read_status

__all__ = ["Checkout", "ClonePaths", "CommitRefused", "Fetched", "Status", "read_status"]
