"""The parts that all stand-ins share: HTTP server, clock, faults and the generator of records."""
