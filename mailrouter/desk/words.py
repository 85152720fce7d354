"""What states, flags, kinds and events are called in plain language. Sentences are looked up when a page is made."""

from collections.abc import Mapping

from mailrouter.desk.language import N_, Gettext, Language
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Nature
from mailrouter.organisation import Unit
from mailrouter.tables import AssignmentState, CaseState, DispatchKind, DispatchState, Event, Role

COUNT_LIMIT = 1000  # a tray with more says "1000+": nobody needs the figure, and counting costs

CASE_STATES = {
    CaseState.OPEN: N_("Att sortera"),
    CaseState.QUARANTINED: N_("Karantän"),
    CaseState.ROUTED: N_("Vidarebefordrat"),
    CaseState.ANSWERED: N_("Besvarat"),
    CaseState.CLOSED: N_("Avslutat"),
}

ASSIGNMENT_STATES = {
    AssignmentState.SENDING: N_("Skickas"),
    AssignmentState.DELIVERED: N_("Överlämnat"),
    AssignmentState.FAILED: N_("Kunde inte levereras"),
    AssignmentState.RETURNED: N_("Återlämnat"),
    AssignmentState.ANSWERED: N_("Besvarat"),
    AssignmentState.WITHDRAWN: N_("Återkallat"),
}

DISPATCH_STATES = {
    DispatchState.QUEUED: N_("väntar på att skickas"),
    DispatchState.SENT: N_("skickat"),
    DispatchState.FAILED: N_("misslyckades"),
    DispatchState.CANCELLED: N_("inställt"),
}

# Kinds of numbers that are hidden (classify.sensitive)
NUMBERS = {
    "personnummer": N_("personnummer, dolt"),
    "kortnummer": N_("kortnummer, dolt"),
}

DISPATCH_KINDS = {
    DispatchKind.FORWARD: N_("Mejlet"),
    DispatchKind.REMINDER: N_("Påminnelse"),
    DispatchKind.DIGEST: N_("Samlad påminnelse"),
    DispatchKind.COMPLETION: N_("Komplettering"),
    DispatchKind.ACKNOWLEDGEMENT: N_("Bekräftelse"),
    DispatchKind.NOTICE: N_("Besked om vem som svarar"),
    DispatchKind.ANSWER: N_("Svar från kontaktcenter"),
}

# Outcome of one attempt (tables.Attempt.outcome)
OUTCOMES = {
    "sent": N_("togs emot"),
    "later": N_("försöks igen"),
    "never": N_("avvisades"),
    "": N_("pågår eller avbröts"),
}

FLAGS = {
    "hot": N_("Möjligt hot"),
    "bradskande": N_("Brådskande"),
    "barn": N_("Rör barn"),
    "skyddad": N_("Skyddade uppgifter"),
    "kanslig": N_("Känsliga uppgifter"),
    "overklagande-frist": N_("Överklagande: frist löper"),
}
# How loud a flag is; unknown flags are as quiet as the last.
FLAG_RANKS = {"hot": 0, "bradskande": 1, "barn": 1, "skyddad": 2, "overklagande-frist": 2, "kanslig": 2}

KINDS = {
    "klagomal": N_("Klagomål"),
    "fraga": N_("Fråga"),
    "berom": N_("Beröm"),
    "forslag": N_("Förslag"),
    "felanmalan": N_("Felanmälan"),
    "begaran-handling": N_("Begäran om allmän handling"),
    "overklagande": N_("Överklagande"),
    "skadestand": N_("Skadeståndskrav"),
    "orosanmalan": N_("Orosanmälan"),
    "ovrigt": N_("Övrigt"),
}

NATURES = {
    Nature.AUTO_REPLY: N_("Det här ser ut som ett automatiskt svar."),
    Nature.DELIVERY_REPORT: N_("Det här är en leveransrapport från en e-postserver."),
    Nature.FEEDBACK_REPORT: N_("Det här är en rapport från en e-posttjänst."),
    Nature.MAILING_LIST: N_("Det här kom från en e-postlista."),
    Nature.BULK: N_("Det här ser ut som ett massutskick."),
    Nature.READ_RECEIPT: N_("Det här är ett läskvitto."),
    Nature.CALENDAR: N_("Det här är en kalenderinbjudan."),
    Nature.DMARC_REPORT: N_("Det här är en teknisk rapport om e-postdomänen."),
    Nature.OWN: N_("Det här mejlet har mailrouter själv skickat."),
}

UNIT_KINDS = {
    "forvaltning": N_("Förvaltningar"),
    "bolag": N_("Bolag och förbund"),
    "extern": N_("Utanför staden"),
}

# Why only some may read a case (tables.Restriction)
RESTRICTIONS = {
    "skyddad": N_("skyddade personuppgifter"),
    "orosanmalan": N_("oro för ett barn"),
    "visselblasning": N_("visselblåsning"),
}

ROLES = {
    Role.SERVICEVAGLEDARE: N_("Servicevägledare"),
    Role.REGISTRATOR: N_("Registrator"),
    Role.CHEF: N_("Chef"),
    Role.ADMIN: N_("Administratör"),
}

CLOSE_REASONS = {
    "besvarat-direkt": N_("Besvarat direkt av kontaktcenter"),
    "hanvisat": N_("Hänvisat till någon utanför staden"),
    "ej-arende": N_("Inte ett ärende (reklam, autosvar, testmejl)"),
}

_CERTAINTY = (
    (0.9, N_("mycket troligt")),
    (0.7, N_("troligt")),
    (0.4, N_("osäkert")),
    (0.1, N_("mindre troligt")),
    (0.0, N_("inte troligt")),
)

_EVENTS = {
    EventKind.RECEIVED: N_("Mejlet kom in och ärendet öppnades"),
    EventKind.JOINED: N_("Ett nytt mejl kom till ärendet"),
    EventKind.DUPLICATE: N_("Samma mejl kom en gång till"),
    EventKind.QUARANTINED: N_("Mejlet kunde inte läsas och ställdes i karantän"),
    EventKind.NOTED: N_("Påpekandet är läst"),
    EventKind.RELEASED: N_("Mejlet togs ur karantänen och läses igen"),
    EventKind.SUGGESTED: N_("Ett förslag gjordes"),
    EventKind.CONFIRMED: N_("Mottagare bekräftades"),
    EventKind.SENT: N_("Mejlet lämnades till mottagarens e-postserver"),
    EventKind.SEND_DELAYED: N_("Mejlet kunde inte lämnas än; nytt försök görs"),
    EventKind.DELIVERY_FAILED: N_("Mejlet kunde inte levereras"),
    EventKind.REMINDED: N_("En påminnelse skickades"),
    EventKind.DIARIENUMMER: N_("Diarienummer antecknades"),
    EventKind.RETURNED: N_("Ärendet lämnades tillbaka: fel förvaltning"),
    EventKind.PART_ANSWERED: N_("En av mottagarna har svarat"),
    EventKind.ANSWERED: N_("Ärendet besvarades"),
    EventKind.CLOSED: N_("Ärendet avslutades"),
    EventKind.REOPENED: N_("Ärendet öppnades igen"),
    EventKind.UNDONE: N_("Beslutet ångrades innan något skickades"),
    EventKind.RECEIPT: N_("Ett automatiskt svar kom in och lades till ärendet"),
    EventKind.PAUSED: N_("Svarstiden pausades"),
    EventKind.RESUMED: N_("Svarstiden löper igen"),
    EventKind.RESCHEDULED: N_("Svarsdatumet räknades om"),
    EventKind.LINKED: N_("Ärendet kopplades till ett tidigare"),
    EventKind.RESTRICTED: N_("Vem som får läsa ärendet ändrades"),
    EventKind.READ: N_("Ärendet lästes"),
}


# What an event is called when a detail of it says more: its kind, the detail, its value (empty: any), the sentence.
_NARROWER = (
    (EventKind.QUARANTINED, "reason", "", N_("Ärendet ställdes åt sidan")),
    (EventKind.READ, "what", "sensitive-numbers", N_("Dolda nummer visades")),
    (EventKind.SENT, "action", "delivered", N_("Mejlet kom fram hos mottagaren")),
    (EventKind.SENT, "action", "", N_("Mejlet lämnades vidare till en server som inte ger besked")),
    (EventKind.SEND_DELAYED, "alternative", "", N_("Brevlådan finns inte; mejlet går till en annan")),
    (EventKind.SEND_DELAYED, "outcome", "never", N_("Mejlet kunde inte lämnas, och inget nytt försök görs")),
)


def capped(count: int) -> str:
    """A tray's counter; nobody needs the figure of a very full one."""
    return f"{COUNT_LIMIT}+" if count >= COUNT_LIMIT else str(count)


def certainty(language: Language, probability: float) -> str:
    """A probability in words, to stand beside the figure."""
    return next(language.gettext(words) for least, words in _CERTAINTY if probability >= least)


def event(_: Gettext, of: Event) -> str:
    """One event as a sentence without its details."""
    for kind, key, value, said in _NARROWER:
        found = of.detail.get(key)
        if of.kind == kind and found and value in ("", found):
            return _(said)
    known = of.kind in set(EventKind)
    return _(_EVENTS[EventKind(of.kind)]) if known else of.kind


def sorted_flags(flags: list[str]) -> list[str]:
    """Flags, the loudest first."""
    return sorted(flags, key=lambda flag: (FLAG_RANKS.get(flag, 3), flag))


def event_details(_: Gettext, of: Event, units: Mapping[str, Unit]) -> list[str]:
    """What an event says besides its kind, in the order a person asks: who, why, which number."""
    detail = of.detail
    named = [one["unit"] for one in detail.get("chosen", ())] or [detail.get("unit")]
    said = [units[name].name if name in units else str(name) for name in named if name]
    if of.kind == EventKind.SUGGESTED and detail.get("abstain"):
        said.append(_("osäkert"))
    if of.kind == EventKind.RESTRICTED:
        restricted = detail.get("restricted", "")
        said.append(_(RESTRICTIONS.get(restricted, restricted)) if restricted else _("begränsningen hävdes"))
    reason = str(detail.get("reason", ""))
    said.append(_(CLOSE_REASONS[reason]) if reason in CLOSE_REASONS else reason)
    said += [str(detail.get(key, "")) for key in ("note", "value", "recipient", "reply", "why", "alternative")]
    return [one for one in said if one]
