"""Stand-ins for HubSpot, Salesforce and Recotap on loopback, for the demo, drills and tests.

    with Sandbox() as sandbox:
        call = sandbox.hubspot.put("calls", {"hs_call_title": "Demo"})
        … point syncd at sandbox.hubspot_url (sandbox.token) and sandbox.recotap_url (sandbox.key) …
        assert sandbox.recotap.stored

Sandbox(salesforce={}) also serves Salesforce, as sandbox.salesforce, over TLS at sandbox.salesforce_url. The stand-ins
obey their requests. They import none of syncd's rules, so that they can contradict them.
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
