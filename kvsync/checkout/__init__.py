"""State files that come from a Git repository: fetched, judged, and laid out as a folder that is exchanged whole."""

from kvsync.checkout.home import Place
from kvsync.checkout.model import Fetched, Refused, Status
from kvsync.checkout.source import Checkout
from kvsync.checkout.status import read_status

__all__ = ["Checkout", "Fetched", "Place", "Refused", "Status", "read_status"]
