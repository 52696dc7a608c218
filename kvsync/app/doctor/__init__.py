"""Checks of `kvsync doctor`: everything that a pass needs, checked without writing to a store or sending a notification."""

from kvsync.app.doctor.checks import examine
from kvsync.app.doctor.report import DoctorReport, Finding

__all__ = ["DoctorReport", "Finding", "examine"]
