"""Salesforce's error responses."""

from typing import Any

AROUND = 32  # characters that a message shows on each side of the error

USE_SUFFIX = (
    "If you are attempting to use a custom {what}, be sure to append the '{suffix}' after the custom {what} name. "
    "Please reference your WSDL or the describe call for the appropriate names."
)


class SalesforceRefusal(Exception):
    """An error of the REST API, with its code, status and body."""

    def __init__(self, code: str, message: str, *, status: int = 400, fields: list[str] | None = None) -> None:
        super().__init__(message)
        self.code, self.status = code, status
        self.body: list[dict[str, Any]] = [{"message": message, "errorCode": code}]
        if fields is not None:
            self.body[0]["fields"] = fields


class QueryRefusal(Exception):
    """An error of a query, with its position but without the query's text."""

    def __init__(self, code: str, at: int, message: str) -> None:
        super().__init__(message)
        self.code, self.at = code, at

    def within(self, text: str) -> SalesforceRefusal:
        """Return the refusal, with a caret at the position in `text`, as in the recorded bodies."""
        row = text.count("\n", 0, self.at) + 1
        column = self.at - (text.rfind("\n", 0, self.at) + 1) + 1
        start = max(0, self.at - AROUND)
        shown = text[start : self.at + AROUND].replace("\n", " ")
        pointer = " " * (self.at - start) + "^"
        return SalesforceRefusal(self.code, f"\n{shown}\n{pointer}\nERROR at Row:{row}:Column:{column}\n{self}")


def malformed(at: int, message: str) -> QueryRefusal:
    """Return the refusal of a query that cannot be parsed."""
    return QueryRefusal("MALFORMED_QUERY", at, message)


def no_such_column(at: int, name: str, entity: str) -> QueryRefusal:
    """Return the refusal of an unknown field."""
    hint = USE_SUFFIX.format(what="field", suffix="__c")
    return QueryRefusal("INVALID_FIELD", at, f"No such column '{name}' on entity '{entity}'. {hint}")


def no_such_relationship(at: int, name: str) -> QueryRefusal:
    """Return the refusal of an unknown relationship."""
    hint = USE_SUFFIX.format(what="relationship", suffix="__r")
    return QueryRefusal("INVALID_FIELD", at, f"Didn't understand relationship '{name}' in field path. {hint}")


def not_supported(at: int, name: str) -> QueryRefusal:
    """Return the refusal of an unknown object."""
    return QueryRefusal("INVALID_TYPE", at, f"sObject type '{name}' is not supported.")


def not_found() -> SalesforceRefusal:
    """Return the 404 of an unknown path."""
    return SalesforceRefusal("NOT_FOUND", "The requested resource does not exist", status=404)
