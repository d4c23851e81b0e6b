"""Records as the tools of real portals write them: one of each kind, in one portal.

Each function writes the properties that the tool writes, and leaves out those that it leaves empty. All people and
companies are invented.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from syncd.sandbox.hubspot.portal import Portal
from syncd.sandbox.standin.clock import iso
from syncd.sandbox.standin.generator import OWN_DOMAIN

OURS, THEIRS = OWN_DOMAIN, "amber-bolts-900.com"
ALTERNATIVE = "lanternfield-hello.com"  # reps write from it too, and no owner has an address there
REP, COLLEAGUE = f"ada.eschenfeld@{OURS}", f"bram.fennbrook@{OURS}"
BUYER, BOSS = f"kaya.ivorstone@{THEIRS}", f"levin.dunmere@{THEIRS}"
CONNECTED = "f240bbac-87c9-4f6e-bf70-924b57d47db7"  # a disposition
HOUR = 3_600_000  # ms
Names = dict[str, str]


@dataclass
class Lifelike:
    """The records of one portal by name, e.g. calls["aircall"] is its id."""

    calls: Names = field(default_factory=dict)
    emails: Names = field(default_factory=dict)
    beside: Names = field(default_factory=dict)  # of objects that are neither


def lifelike(hubspot: Portal, *, at: int | None = None, prefix: str = "") -> Lifelike:
    """Write one record of each kind, a minute apart.

    `at`: when the first one happened, in epoch ms, by default four days ago. `prefix` tells several sets of one portal
    apart.
    """
    with hubspot.lock:
        return _Tools(hubspot, hubspot.clock.ms() - 96 * HOUR if at is None else at, prefix).write()


class _Tools:
    def __init__(self, hubspot: Portal, at: int, prefix: str) -> None:
        self.hubspot = hubspot
        self.at = at
        self.found = Lifelike()
        self.prefix = prefix
        before = self.at - 100 * 24 * HOUR
        self.rep = hubspot.owner(REP, "Ada", "Eschenfeld", id=7_001)
        hubspot.owner(COLLEAGUE, "Bram", "Fennbrook", id=7_002)
        self.company = hubspot.put("companies", {"name": "Amber Bolts", "domain": THEIRS}, modified_at=before)
        self.buyer, self.boss = (self._contact(each, before) for each in ({"email": BUYER}, {"email": BOSS}))
        self.additional = self._contact({"hs_additional_emails": f"nils@{THEIRS};n.old@{THEIRS}"}, before)
        self.at_work = self._contact({"work_email": f"greta@{THEIRS}"}, before)
        self.by_phone = self._contact({"firstname": "+1 555 0142"}, before)  # a dialer's new contact has no address

    def write(self) -> Lifelike:
        self._calls()
        self._mailboxes()
        self._sequencers()
        self._unsent()
        self._automated()
        self._beside()
        return self.found

    def _calls(self) -> None:
        done = {"hs_call_status": "COMPLETED", "hs_call_duration": "612000"}
        dialer = {"hs_call_source": "INTEGRATIONS_PLATFORM", "hs_object_source": "INTEGRATION"}
        by_hand = {"hs_object_source": "CRM_UI"}
        self._call("native", {**done, **by_hand, "hs_call_source": "VOIP", "hs_call_direction": "OUTBOUND"})
        self._call("aircall", {**done, **dialer, "hs_call_direction": "INBOUND"})
        self._call("dialer_without_direction", {**done, **dialer, "hs_call_title": "Call with Kaya"})
        self._call("logged_by_hand", {"hs_call_title": "Called about spring", **by_hand})
        self._call("missed", {"hs_call_status": "MISSED", "hs_call_direction": "INBOUND", **dialer})
        self._call("queued_for_ever", {"hs_call_status": "QUEUED", **dialer})
        self._call("never_ended", {"hs_call_status": "IN_PROGRESS", "hs_call_duration": "300000",
                                   "hs_call_disposition": CONNECTED, **dialer})  # fmt: skip
        self._call("never_ended_and_empty", {"hs_call_status": "IN_PROGRESS", **dialer})
        self._call("in_seconds_by_mistake", {"hs_call_status": "COMPLETED", "hs_call_duration": "90000000", **dialer})
        self._call("without_owner", {**done, **dialer, "hubspot_owner_id": None})
        self._call("unknown_number", {**done, **dialer}, self.by_phone)
        self._call("additional_address", {**done, **dialer}, self.additional)
        self._call("address_at_work", {**done, **dialer}, self.at_work)
        self._call("unassociated", {**done, **dialer}, None)
        by_type = {"hs_call_callee_object_id": self.buyer}
        self._call("callee_by_name", {**done, **by_type, "hs_call_callee_object_type": "CONTACT", **dialer}, None)
        self._call("callee_by_id", {**done, **by_type, "hs_call_callee_object_type_id": "0-1", **dialer}, None)

    def _mailboxes(self) -> None:
        extension, mailbox = {"hs_object_source": "EXTENSION"}, {"hs_object_source": "EMAIL_INTEGRATION"}
        opened = {"hs_email_open_count": "2", "hs_email_click_count": "1"}
        self._email("one_to_one", REP, [BUYER], {**extension, **opened, "hubspot_owner_id": self.rep})
        self._email("sequence", REP, [BUYER], {**opened, "hs_sequence_id": "77", "hs_object_source": "SEQUENCES",
                                               "hubspot_owner_id": self.rep})  # fmt: skip
        self._email("reply", BUYER, [REP], {**mailbox, "hs_email_direction": "INCOMING_EMAIL",
                                            "hs_email_status": "RECEIVED", "hubspot_owner_id": self.rep})  # fmt: skip
        self._email("reply_without_owner", BUYER, [REP], {**mailbox, "hs_email_direction": "INCOMING_EMAIL"})
        self._email("reply_to_alternative_domain", BUYER, [f"ada@{ALTERNATIVE}"],
                    {**mailbox, "hs_email_direction": "INCOMING_EMAIL", "hubspot_owner_id": self.rep})  # fmt: skip
        twice = {**mailbox, "hs_email_direction": "INCOMING_EMAIL", "hs_email_message_id": "<two.boxes@amber-bolts>"}
        for name, owner in (("in_two_boxes", self.rep), ("in_two_boxes_again", "7002")):
            self._email(name, BUYER, [REP, COLLEAGUE], {**twice, "hubspot_owner_id": owner}, subject="To both of you")
        self._email("forwarded", REP, ["123456@forward.hubspot.com"], {
            "hs_email_direction": "FORWARDED_EMAIL", "hs_object_source": "EMAIL_INTEGRATION"})  # fmt: skip
        self._email("by_bcc", REP, [BUYER, "123456@bcc.hubspot.com"], {"hs_object_source": "BCC_TO_CRM",
                                                                       "hubspot_owner_id": self.rep})  # fmt: skip
        self._email("display_form", f"Ada Eschenfeld <{REP}>", [f"Kaya Ivorstone <{BUYER}>"],
                    {"hs_object_source": "API", "hubspot_owner_id": self.rep}, contacts=())  # fmt: skip
        self._email("only_properties", REP, [BUYER], {
            "hs_object_source": "API", "hubspot_owner_id": self.rep, "hs_email_headers": None,
        }, contacts=())  # fmt: skip
        self._email("internal", REP, [COLLEAGUE], {**extension, "hubspot_owner_id": self.rep}, contacts=())

    def _sequencers(self) -> None:
        """Write as sequencers do: source INTEGRATION, no thread, and the whole inbox as direction EMAIL."""
        tool = {"hs_object_source": "INTEGRATION"}
        self._email("apollo_sent", REP, [BUYER], {**tool, "hubspot_owner_id": self.rep}, message_id=False)
        self._email("apollo_sent_without_owner", REP, [BUYER], tool, message_id=False)
        self._email("apollo_received", BUYER, [REP], tool, subject="[<<] Re: Prices", message_id=False)
        self._email("apollo_received_with_another", BUYER, [REP, BOSS], {**tool, "hubspot_owner_id": self.rep},
                    subject="[<<] Re: Prices", contacts=(self.buyer, self.boss), message_id=False)  # fmt: skip
        self._email("apollo_newsletter", "news@birch-cranes-901.com", [REP], tool, subject="[<<] Our autumn news",
                    contacts=(), message_id=False)  # fmt: skip
        self._email("warm_up", f"hello@{ALTERNATIVE}", ["pool@birch-cranes-902.com"], tool, contacts=(),
                    subject="Lunch on Tuesday | qxw7 warm", message_id=False)  # fmt: skip
        self._email("alternative_domain", f"ada@{ALTERNATIVE}", [BUYER], {**tool, "hubspot_owner_id": self.rep})

    def _unsent(self) -> None:
        for status in ("DRAFT", "BOUNCED", "FAILED", "CANCELED", "SCHEDULED", "SENDING", "LOGGED_BY_TOOL"):
            self._email(status.lower(), REP, [BUYER], {"hs_email_status": status, "hubspot_owner_id": self.rep,
                                                       "hs_object_source": "CRM_UI"})  # fmt: skip
        self._email("draft_by_direction", REP, [BUYER], {
            "hs_email_direction": "DRAFT_EMAIL", "hs_email_status": None, "hs_object_source": "CRM_UI"})  # fmt: skip

    def _automated(self) -> None:
        mailbox = {"hs_object_source": "EMAIL_INTEGRATION", "hs_email_direction": "INCOMING_EMAIL",
                   "hubspot_owner_id": self.rep}  # fmt: skip
        away = {**mailbox, "hs_incoming_email_is_out_of_office": "true"}
        self._email("out_of_office", BUYER, [REP], away, subject="Back on Monday")
        self._email("accepted", BUYER, [REP], mailbox, subject="Accepted: Demo @ Tue 10:00")
        self._email("declined", BUYER, [REP], mailbox, subject="Declined: Demo @ Tue 10:00")
        self._email("no_reply", f"noreply@{THEIRS}", [REP], mailbox, subject="Your invoice", contacts=())
        self._email("support", BUYER, [f"support@{OURS}"], {
            "hs_object_source": "CONVERSATIONS", "hs_email_direction": "INCOMING_EMAIL"})  # fmt: skip

    def _beside(self) -> None:
        for channel in ("SMS", "WHATS_APP", "LINKEDIN_MESSAGE"):
            self._put("communications", {"hs_communication_channel_type": channel}, (self.buyer,))
            self.found.beside[channel.lower()] = self.last
        recording = {"hs_meeting_title": "Gong recording", "hs_object_source": "INTEGRATION"}
        self._put("meetings", recording, (self.buyer,))
        self.found.beside["recording"] = self.last

    def _call(self, name: str, properties: dict[str, Any], contact: str | None = "") -> None:
        contacts = (self.buyer,) if contact == "" else (contact,) if contact else ()
        self._put("calls", {"hs_call_title": "Call", "hubspot_owner_id": self.rep, **properties}, contacts)
        self.found.calls[self.prefix + name] = self.last

    def _email(
        self, name: str, sender: str, receivers: list[str], properties: dict[str, Any], *, subject: str = "",
        contacts: tuple[str, ...] | None = None, message_id: bool = True,
    ) -> None:  # fmt: skip
        values = {
            "hs_email_subject": subject or name.replace("_", " ").capitalize(),
            "hs_email_direction": "EMAIL", "hs_email_status": "SENT", "hs_email_headers": _headers(sender, receivers),
            "hs_email_from_email": sender, "hs_email_to_email": ";".join(receivers),
            "hs_email_message_id": f"<{self.prefix}{name}@mail>" if message_id else None, **properties,
        }  # fmt: skip
        self._put("emails", values, (self.buyer,) if contacts is None else contacts)
        self.found.emails[self.prefix + name] = self.last

    def _put(self, type_name: str, properties: dict[str, Any], contacts: tuple[str, ...]) -> None:
        self.at += 60_000
        values = {"hs_timestamp": iso(self.at), **properties}
        self.last = self.hubspot.put(type_name, values, created_at=self.at, modified_at=self.at + 200)
        for contact in contacts:
            if type_name in ("calls", "emails"):
                self.hubspot.associate(type_name, self.last, "contacts", contact)

    def _contact(self, properties: dict[str, Any], before: int) -> str:
        values = {"firstname": "Kaya", "lastname": "Ivorstone", "associatedcompanyid": self.company, **properties}
        return self.hubspot.put("contacts", values, modified_at=before)


def _headers(sender: str, receivers: list[str]) -> str:
    def person(address: str) -> dict[str, str | None]:
        return {"email": address, "firstName": None, "lastName": None}

    parts = {"from": person(sender), "to": [person(each) for each in receivers], "cc": [], "bcc": []}
    return json.dumps(parts)


__all__ = ["ALTERNATIVE", "BOSS", "BUYER", "COLLEAGUE", "OURS", "REP", "THEIRS", "Lifelike", "lifelike"]
