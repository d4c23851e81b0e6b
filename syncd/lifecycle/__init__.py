"""Decide an activity's states, moves and times. Pure."""
