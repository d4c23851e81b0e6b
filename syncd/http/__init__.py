"""The HTTP parts of every client: bounded bodies, deadlines, TLS, proxies, retries and server clocks."""
