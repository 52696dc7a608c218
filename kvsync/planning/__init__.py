"""Pure planning: compare both sides of a target, classify what differs, guard the plan. No I/O, no clock, no logging."""
