"""The parts that all stand-ins share: the HTTP server, the clock, faults on order, and invented words and chance."""
