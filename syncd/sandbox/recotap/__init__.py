"""A stand-in for Recotap on loopback."""

from syncd.sandbox.recotap.service import KEY, Recotap, Rule

__all__ = ["KEY", "Recotap", "Rule"]
