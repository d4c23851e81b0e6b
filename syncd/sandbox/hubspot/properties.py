"""HubSpot's object types: their names, properties, property kinds and association types."""

from typing import Literal

PropertyKind = Literal["datetime", "number", "enum", "string", "id"]

# each name in a path -> the stand-in's name; the numbers are HubSpot's object type ids
TYPES = {
    "calls": "calls", "call": "calls", "0-48": "calls",
    "emails": "emails", "email": "emails", "0-49": "emails",
    "contacts": "contacts", "contact": "contacts", "0-1": "contacts",
    "companies": "companies", "company": "companies", "0-2": "companies",
    "meetings": "meetings", "meeting": "meetings", "0-47": "meetings",
    "communications": "communications", "communication": "communications", "0-18": "communications",
}  # fmt: skip
SINGULAR = {
    "calls": "call", "emails": "email", "contacts": "contact", "companies": "company", "meetings": "meeting",
    "communications": "communication",
}  # fmt: skip

# HubSpot search: only contacts have lastmodifieddate as their cursor (docs' default lists)
MODIFIED = {"contacts": "lastmodifieddate"}
CREATED = {"contacts": "createdate", "companies": "createdate"}

DEFAULTS = {
    "calls": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
    "emails": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
    "meetings": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
    "communications": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
    "contacts": ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    "companies": ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
}

_COMMON = {
    "datetime": "hubspot_owner_assigneddate",
    "enum": "hubspot_owner_id hs_all_owner_ids hs_user_ids_of_all_owners hs_object_source hs_object_source_label"
    " hs_object_source_id hs_created_by_user_id hs_updated_by_user_id",
    "string": "hs_merged_object_ids hs_unique_creation_key",
    "id": "hs_object_id",
}
_OWN = {
    "calls": {
        "datetime": "hs_timestamp",
        "number": "hs_call_duration hs_call_callee_object_id",
        "enum": "hs_call_direction hs_call_disposition hs_call_status hs_call_source hs_activity_type"
        " hs_call_callee_object_type_id hs_call_callee_object_type",
        "string": "hs_call_title hs_call_body hs_call_from_number hs_call_to_number hs_call_recording_url"
        " hs_body_preview hs_body_preview_html",
    },
    "emails": {
        "datetime": "hs_timestamp hs_email_last_open_date hs_email_last_click_date",
        "number": "hs_email_open_count hs_email_click_count hs_email_reply_count hs_email_bounce_count"
        " hs_email_open_rate hs_email_click_rate hs_email_reply_rate",
        "enum": "hs_email_direction hs_email_status hs_body_preview_is_truncated hs_email_attached_video_opened"
        " hs_email_attached_video_watched hs_not_tracking_opens_or_clicks hs_incoming_email_is_out_of_office",
        "string": "hs_email_subject hs_email_text hs_email_html hs_email_headers hs_body_preview hs_body_preview_html"
        " hs_email_from_email hs_email_from_firstname hs_email_from_lastname hs_email_to_email hs_email_to_firstname"
        " hs_email_to_lastname hs_email_cc_email hs_email_bcc_email hs_email_sender_email hs_email_sender_firstname"
        " hs_email_sender_lastname hs_email_thread_id hs_email_message_id hs_email_tracker_key hs_sequence_id"
        " hs_email_logged_from",
    },
    "contacts": {
        "enum": "hs_seniority seniority job_function hs_additional_emails",
        "number": "associatedcompanyid",
        "string": "email firstname lastname jobtitle phone mobilephone company hs_email_domain work_email"
        " hs_linkedin_url",
    },
    "meetings": {"datetime": "hs_timestamp", "enum": "hs_meeting_outcome", "string": "hs_meeting_title"},
    "communications": {"datetime": "hs_timestamp", "enum": "hs_communication_channel_type"},
    "companies": {"string": "name domain website hs_additional_domains", "number": "annualrevenue"},
}

# Without sales-email-read these are withheld in a 200, not refused (HubSpot announcement, 2019)
REDACTED = frozenset(
    name
    for name in _OWN["emails"]["string"].split()
    if name.startswith(("hs_email_", "hs_body_")) and name not in ("hs_email_tracker_key",)
)
# HubSpot search: no filter on these (docs, 2026-03)
UNFILTERABLE = {
    "calls": frozenset({"hs_body_preview_html"}),
    "emails": frozenset({"hs_body_preview_html", "hs_body_preview", "hs_email_html"}),
}

# HubSpot association types (hubspot-api-client's association_type.py); the primary company comes beside its 279
ASSOCIATION_TYPES = {
    ("calls", "contacts"): 194, ("contacts", "calls"): 193,
    ("calls", "companies"): 182, ("companies", "calls"): 181,
    ("emails", "contacts"): 198, ("contacts", "emails"): 197,
    ("emails", "companies"): 186, ("companies", "emails"): 185,
    ("contacts", "companies"): 279, ("companies", "contacts"): 280,
}  # fmt: skip
PRIMARY = {("contacts", "companies"): 1}


def kinds(type_name: str) -> dict[str, PropertyKind]:
    """Return the standard properties of a type, each with its kind."""
    known: dict[str, PropertyKind] = {}
    for table in (_COMMON, _OWN[type_name]):
        for kind, names in table.items():
            known.update(dict.fromkeys(names.split(), kind))  # type: ignore[arg-type]
    known[CREATED.get(type_name, "hs_createdate")] = "datetime"
    known[MODIFIED.get(type_name, "hs_lastmodifieddate")] = "datetime"
    return known
