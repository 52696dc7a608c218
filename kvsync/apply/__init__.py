"""Applying: from the changes of one target to one outcome each, safely."""
