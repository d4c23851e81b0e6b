"""Recognize mail that no person wrote: by its subject, by its sender, or because the CRM marks it. Pure."""

import unicodedata
from collections.abc import Set

from syncd.activity import Automated, Draft
from syncd.normalize.known import is_system_sender

LONGEST = 48  # characters before the colon, at most
WIDE_COLON = "\uff1a"  # of Chinese and Japanese

# Before a subject's first colon, in lower case. They are those of Outlook, Exchange and Google in the main languages
# (seen in published filters of CRM teams, or by the programs' translations, 2026-11). A subject that starts with
# "Re:" or "AW:" is a person's answer to such mail.
_CALENDAR = """
accepted|declined|tentative|tentatively accepted|new time proposed
zugesagt|abgelehnt|mit vorbehalt|mit vorbehalt zugesagt|vorläufig zugesagt|neue zeit vorgeschlagen
accepté|acceptée|refusé|refusée|provisoire|nouvel horaire proposé|nouvelle heure proposée
aceptado|aceptada|rechazado|rechazada|provisional|aceptado provisionalmente|nueva hora propuesta
accettato|accettata|rifiutato|rifiutata|provvisorio|provvisoria|nuova ora proposta
aceito|aceita|aceite|recusado|recusada|provisório|provisória
geaccepteerd|geweigerd|afgewezen|voorlopig|voorlopig geaccepteerd
accepterat|accepterad|avböjt|tackat nej|preliminärt
accepteret|afvist|foreløbig|foreløbigt accepteret|godtatt|akseptert|avslått
hyväksytty|hylätty|alustava|zaakceptowano|zaakceptowane|odrzucono|wstępnie
přijato|odmítnuto|nezávazně|kabul edildi|reddedildi
принято|отклонено|под вопросом
承諾|承諾済み|辞退|仮承諾|已接受|已拒绝|已拒絕|暂定|暫定|수락됨|수락|거절됨|거절
"""
_OUT_OF_OFFICE = """
automatic reply|auto reply|auto-reply|autoreply|out of office|out of the office|out of office autoreply
automatische antwort|abwesenheitsnotiz|abwesenheitsnachricht
réponse automatique|absence du bureau|respuesta automática|fuera de la oficina
risposta automatica|fuori ufficio|resposta automática|fora do escritório
automatisch antwoord|afwezigheidsbericht|afwezig
autosvar|automatiskt svar|automatisk svar|frånvaro|automaattinen vastaus|poissa
automatyczna odpowiedź|odpowiedź automatyczna|automatická odpověď|otomatik yanıt
автоматический ответ|автоответ|自動応答|自動返信|自动答复|自动回复|自動回覆|자동 회신
"""


def _words(written: str) -> list[str]:
    return [word for line in written.split("\n") for word in line.split("|") if word]


_KINDS: dict[str, Automated] = {
    **dict.fromkeys(_words(_CALENDAR), "calendar"),
    **dict.fromkeys(_words(_OUT_OF_OFFICE), "out_of_office"),
}


def automated_as(draft: Draft, sender: str | None, kinds: Set[str]) -> Automated | None:
    """Return the kind of automated mail, or None if it is none of `kinds`.

    `sender` is the sender's clean address, None if unknown.
    """
    if draft.automated in kinds:
        return draft.automated
    if draft.kind != "email" or not kinds:
        return None
    said = _by_subject(draft.title) if draft.title else None
    if said in kinds:
        return said
    return "system_senders" if "system_senders" in kinds and sender and is_system_sender(sender) else None


def _by_subject(subject: str) -> Automated | None:
    start = subject[: LONGEST + 1].lower()
    if not start.isascii():
        start = " ".join(unicodedata.normalize("NFC", start).replace(WIDE_COLON, ":").split())
    head, colon, _ = start.partition(":")
    if not colon and len(subject) > LONGEST:
        return None
    found = _KINDS.get(head.strip())
    return found if colon or found == "out_of_office" else None  # "Accepted" alone may be a person's
