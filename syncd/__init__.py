"""Bring calls and emails from a CRM into Recotap, each exactly once."""

import sys

__version__ = "0.2.0"

# Any Python 3 can run this file without a package. The install commands begin with this import, because pip would
# blame the first dependency that has no release for an old Python. 78 is errors.Exit.CONFIG.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.stderr.write("syncd: needs Python 3.11 or newer, this is Python {}.{}.{}\n".format(*sys.version_info[:3]))
    sys.stderr.write("  -> install a newer Python, and name it in the command, e.g. python3.12 instead of python3\n")
    raise SystemExit(78)
