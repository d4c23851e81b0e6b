"""A temporary certificate authority. Clients that trust its file can use TLS with a stand-in."""

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme


class Certificate:
    """A server certificate for 127.0.0.1 and localhost, and the file of the authority that signed it."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self._folder = TemporaryDirectory(prefix="syncd-sandbox-")
        self.ca = Path(self._folder.name) / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.context)

    def remove(self) -> None:
        """Delete the file of the authority."""
        self._folder.cleanup()
