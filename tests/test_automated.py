"""Mail that no person wrote is excluded as `automated`, by the kinds that `rules.automated` lists."""

from dataclasses import replace
from typing import Any

import pytest

from syncd.activity import Draft, Person
from syncd.normalize.known import is_system_sender
from syncd.normalize.rules import Rules
from tests.test_people import reading_of
from tests.test_rules import CALL, EMAIL, JOHN, RULES, judge, reason

INBOUND = replace(EMAIL, direction="inbound", sender=JOHN)

ANSWERS = [
    "Accepted: Demo @ Tue Apr 21, 2026 10am",
    "Declined: Demo",
    "Tentative: Demo",
    "New Time Proposed: Demo",
    "Zugesagt: Demo",
    "Abgelehnt: Demo",
    "Mit Vorbehalt: Demo",
    "Accepté\u00a0: Démo",
    "Accepte\u0301 : Démo",
    "REFUSÉ : Démo",
    "Aceptada: Demo",
    "Rifiutata: Demo",
    "Aceito: Demo",
    "Geaccepteerd: Demo",
    "承諾\uff1aデモ",
    "已接受: 演示",
    "Принято: Демо",
]
ABSENCES = [
    "Automatic reply: Re: offer",
    "Auto-Reply: offer",
    "Out of Office: offer",
    "out of office",
    "Automatische Antwort: Angebot",
    "Abwesenheitsnotiz",
    "Réponse automatique : offre",
    "Respuesta automática: oferta",
    "Risposta automatica: offerta",
    "Resposta automática: oferta",
    "Automatisch antwoord: aanbod",
    "自動応答: 提案",
]
BY_PEOPLE = [
    "Re: Accepted: Demo",
    "AW: Abwesenheitsnotiz: Angebot",
    "Accepted",
    "Accepted offer: next steps",
    "Your offer: accepted",
    "Out of office next week, call before?",
    "Out of office furniture for Acme: " + "x" * 60,
    "Out of office" + " " * 60 + "furniture",
    "Automatic replying machines: a quote",
    ": Accepted",
    "",
    None,
]


@pytest.mark.parametrize("subject", ANSWERS)
def test_an_answer_of_a_calendar_is_automated(subject: str) -> None:
    assert judge(replace(INBOUND, title=subject))[::3] == ("automated", "calendar")


@pytest.mark.parametrize("subject", ABSENCES)
def test_a_note_of_absence_is_automated(subject: str) -> None:
    assert judge(replace(INBOUND, title=subject))[::3] == ("automated", "out_of_office")


@pytest.mark.parametrize("subject", BY_PEOPLE)
def test_a_persons_subject_is_not(subject: str | None) -> None:
    assert reason(replace(INBOUND, owner=EMAIL.owner, title=subject)) is None


SYSTEMS = (
    "noreply no-reply no_reply do-not-reply donotreply billing-noreply noreply-billing no-reply+abc mailer-daemon "
    "MAILER-DAEMON postmaster notifications notification calendar-notification bounce bounces bounce-123-x noreply2 "
    "auto-reply nicht-antworten no-responder ne-pas-repondre"
)
PERSONS = "noreen norbert.reply info support sales jo.bounceman notify.jones postmasters reply nobody replyto auto"


@pytest.mark.parametrize("local", SYSTEMS.split())
def test_a_program_is_known_by_its_address(local: str) -> None:
    draft = replace(INBOUND, sender=Person(f"{local}@acme.com"))
    assert judge(draft)[::3] == ("automated", "system_senders")


@pytest.mark.parametrize("local", PERSONS.split())
def test_others_are_people(local: str) -> None:
    assert not is_system_sender(f"{local}@acme.com")


@pytest.mark.parametrize("draft", [INBOUND, CALL], ids=["email", "call"])
@pytest.mark.parametrize("kind", ["out_of_office", "support"])
def test_what_the_crm_marks_is_automated(draft: Draft, kind: Any) -> None:
    assert judge(replace(draft, automated=kind))[::3] == ("automated", kind)


@pytest.mark.parametrize("kind", ["out_of_office", "calendar", "system_senders", "support"])
def test_each_kind_is_excluded_only_if_the_rules_list_it(kind: str) -> None:
    drafts = {
        "out_of_office": replace(INBOUND, title="Automatic reply: offer"),
        "calendar": replace(INBOUND, title="Accepted: Demo"),
        "system_senders": replace(INBOUND, sender=Person("noreply@acme.com")),
        "support": replace(INBOUND, automated="support"),
    }
    alone, others = replace(RULES, automated=frozenset({kind})), replace(RULES, automated=RULES.automated - {kind})
    for each, draft in drafts.items():
        assert reason(draft, alone) == ("automated" if each == kind else None)
        assert reason(draft, others) == (None if each == kind else "automated")
        assert reason(draft, Rules(automated=frozenset())) is None


def test_one_kind_that_the_rules_do_not_list_hides_no_other() -> None:
    draft = replace(INBOUND, automated="support", title="Accepted: Demo", sender=Person("noreply@acme.com"))
    assert judge(draft, replace(RULES, automated=frozenset({"system_senders"})))[::3] == ("automated", "system_senders")


def test_the_reading_names_the_kind_for_explain() -> None:
    reading = reading_of(replace(INBOUND, title="Accepted: Demo"))
    assert (reading.reason, reading.detail) == ("automated", "calendar")


def test_a_calls_title_and_an_emails_sender_of_ours_are_judged_alike() -> None:
    assert reason(replace(CALL, title="Accepted: Demo")) is None
    assert reason(replace(EMAIL, sender=Person("noreply@yourcompany.com"))) == "automated"


def test_it_comes_after_the_operators_own_filter_and_before_everything_else() -> None:
    draft = replace(INBOUND, title="Accepted: Demo", filtered="except, entry 2", direction="internal", contacts=())
    assert judge(draft)[::3] == ("filtered", "except, entry 2")
    assert reason(replace(draft, status="not_sent")) == "not_sent"
    assert reason(replace(draft, filtered=None)) == "automated"
