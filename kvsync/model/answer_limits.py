"""Limits for what stores answer."""

from __future__ import annotations

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What one response and one listing may cost, in bytes and seconds (`unpack_ratio` has no unit). `kvsync.config.limits`
    says what each bounds."""

    answer: int = 256 * 2**20
    error_answer: int = 2**20
    listing_pages: int = 10_000
    listing_entries: int = 2_000_000
    listing_bytes: int = 2**30
    listing_time: float = 600
    unpacked: int = 256 * 2**20
    unpack_ratio: int = 100
