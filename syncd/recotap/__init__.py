"""Recotap: the one client, its payload and its responses."""
