"""Stand-ins for HubSpot, Salesforce and Recotap on loopback, which demo, drill and tests share.

    with Sandbox() as box:
        call = box.hubspot.put("calls", {"hs_call_title": "Demo"})
        … point syncd at box.hubspot_url (box.token) and box.recotap_url (box.key) …
        assert box.recotap.stored

Salesforce is there when its settings are: Sandbox(salesforce={}) has box.salesforce, at box.salesforce_url over TLS.
They obey what they are asked and import none of syncd's own rules: they are here to contradict them.
"""

from syncd.sandbox.hubspot.portal import SCOPES, TOKEN
from syncd.sandbox.hubspot.service import HubSpot
from syncd.sandbox.hubspot.world import generate
from syncd.sandbox.recotap.service import KEY, Recotap, Rule
from syncd.sandbox.sandbox import Sandbox, serve
from syncd.sandbox.standin.clock import Clock
from syncd.sandbox.standin.faults import Fault, Faults, preset, sample
from syncd.sandbox.standin.generator import World

__all__ = [
    "KEY",
    "SCOPES",
    "TOKEN",
    "Clock",
    "Fault",
    "Faults",
    "HubSpot",
    "Recotap",
    "Rule",
    "Sandbox",
    "World",
    "generate",
    "preset",
    "sample",
    "serve",
]
