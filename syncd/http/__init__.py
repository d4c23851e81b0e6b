"""HTTP for every client of syncd: bounded bodies, deadlines, TLS, proxies, retries and server clocks."""
