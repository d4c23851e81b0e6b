"""syncd brings calls and emails from a CRM into Recotap, each exactly once."""

__version__ = "0.1.0"
