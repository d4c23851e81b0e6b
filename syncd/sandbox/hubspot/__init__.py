"""A stand-in for HubSpot on loopback.

    hubspot = HubSpot(seed=1)
    call = hubspot.put("calls", {"hs_call_title": "Demo"})

Server(hubspot) serves it alone, Sandbox() with the other stand-ins.
"""

from syncd.sandbox.hubspot.portal import SCOPES, TOKEN
from syncd.sandbox.hubspot.service import HubSpot

__all__ = ["SCOPES", "TOKEN", "HubSpot"]
