"""The pure middle: no I/O, no clock, no logging. Values in, values out."""
