"""Decisions: pure functions of values. No I/O, no clock, no await."""
