"""Notify systemd of the service's state (sd_notify(3)). Without systemd it does nothing.

The protocol is a datagram of lines `NAME=value` to the socket in NOTIFY_SOCKET. The packages for it on PyPI are
unmaintained (sdnotify, 2017) or need a compiler and systemd's headers.
"""

import os
import socket
import time

from syncd.privacy.redaction import redact
from syncd.text import fit

SEND_TIMEOUT_S = 0.5  # wait for a manager whose queue is full: READY must not be lost


class Notifier:
    """Send messages to the service manager that started this process."""

    def __init__(self, address: str | None, *, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s  # systemd restarts syncd if `feed` is not called for this long; None: no watchdog
        self._status = ""

    @classmethod
    def from_environment(cls) -> "Notifier":
        """Return a notifier for systemd's variables. Without them it does nothing."""
        address = os.environ.get("NOTIFY_SOCKET")
        meant_for = os.environ.get("WATCHDOG_PID", "")
        usec = os.environ.get("WATCHDOG_USEC", "")
        watched = usec.isdecimal() and int(usec) > 0 and meant_for in ("", str(os.getpid()))
        return cls(address, watchdog_s=int(usec) / 1e6 if address and watched else None)

    def ready(self) -> None:
        """Report that the service has started, or has finished a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that the configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that the service stops."""
        self._send("STOPPING=1")

    def feed(self) -> None:
        """Feed the watchdog: the service is alive and makes progress."""
        self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """Show `line` in `systemctl status`. A repeated line is not sent again."""
        line = redact(fit(line.encode(errors="replace").decode()))  # a line break would start another message
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # An abstract socket's name begins with a zero byte, which the variable shows as @.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.settimeout(SEND_TIMEOUT_S)
                manager.sendto(message.encode(errors="replace"), address)
        except OSError:
            pass  # a manager that is gone or busy must not stop the service; its own time-outs apply
