"""Planning: compares both sides of a target, classifies the differences, and guards the plan. Pure: no I/O, no clock, no
logging.
"""
