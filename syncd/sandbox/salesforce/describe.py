"""The describe response of an object, with the keys of the recorded body."""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from syncd.sandbox.salesforce.schema import Child, Field, ObjectKind

SOAP_TYPES = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int", "double": "xsd:double",
    "currency": "xsd:double", "percent": "xsd:double", "date": "xsd:date", "datetime": "xsd:dateTime",
    "address": "urn:address",
}  # fmt: skip
NAME_FIELDS = {"Task": "Subject", "Case": "CaseNumber", "EmailMessage": "Subject"}

Json = dict[str, Any]


def sample(name: str) -> Any:
    """Return a recorded Salesforce body. Its source is in samples/README.md."""
    return json.loads(files("syncd.sandbox.salesforce").joinpath("samples", name).read_text(encoding="utf-8"))


def describe(kind: ObjectKind, base: str, known: dict[str, ObjectKind]) -> Json:
    """Describe an object as the acting user sees it. `known` has all objects that this user sees, by name."""
    whole = _template()
    children = [_child(whole["childRelationships"][0], child) for child in kind.children.values()]
    urls = {"sobject": f"{base}/sobjects/{kind.name}", "describe": f"{base}/sobjects/{kind.name}/describe"}
    return {
        **whole, "name": kind.name, "label": _label(kind.name), "labelPlural": f"{_label(kind.name)}s",
        "keyPrefix": kind.prefix, "mergeable": kind.name in ("Account", "Contact", "Lead"),
        "fields": [_field(whole["fields"][0], kind, field, known) for field in kind.fields.values()],
        "childRelationships": children, "urls": urls,
    }  # fmt: skip


def describe_all(kinds: list[ObjectKind], base: str) -> Json:
    """Describe all objects that the acting user sees, without their fields (REST guide v67, Describe Global)."""
    whole = {key: value for key, value in _template().items() if key not in ("fields", "childRelationships", "urls")}
    rows = [
        {**whole, "name": kind.name, "label": _label(kind.name), "labelPlural": f"{_label(kind.name)}s",
         "keyPrefix": kind.prefix, "custom": kind.name.endswith("__c"), "queryable": True,
         "urls": {"sobject": f"{base}/sobjects/{kind.name}"}}
        for kind in kinds
    ]  # fmt: skip
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": rows}


@cache
def _template() -> Json:
    template: Json = sample("describe_account_excerpt.json")
    return template


def _child(template: Json, child: Child) -> Json:
    named = {"relationshipName": child.name, "childSObject": child.object, "field": child.field}
    return {**template, **named, "cascadeDelete": False}


def _field(template: Json, kind: ObjectKind, field: Field, known: dict[str, ObjectKind]) -> Json:
    choices = [{"active": True, "defaultValue": False, "label": option, "validFor": None, "value": option}
               for option in field.options]  # fmt: skip
    return {
        **template, "name": field.name, "label": _label(field.name), "type": field.type, "length": field.length,
        "byteLength": 3 * field.length if field.length != 18 else 18, "custom": field.custom,
        "filterable": field.filterable, "caseSensitive": field.case_sensitive,
        "sortable": field.sortable, "groupable": field.groupable,
        "aggregatable": field.sortable, "nillable": field.nillable, "createable": not field.readonly,
        "updateable": not field.readonly and field.name != "TaskSubtype", "idLookup": field.type == "id",
        "defaultedOnCreate": field.type in ("id", "boolean"), "picklistValues": choices,
        "permissionable": field.nillable and not field.readonly,
        "nameField": field.name == NAME_FIELDS.get(kind.name, "Name"),
        "namePointing": field.polymorphic, "polymorphicForeignKey": field.polymorphic,
        "referenceTo": [target for target in field.refers_to if target in known],
        "relationshipName": field.relationship, "soapType": SOAP_TYPES.get(field.type, "xsd:string"),
        "digits": 9 if field.type == "int" else 0,
    }  # fmt: skip


def _label(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("__c"))
