"""What is wrong with an installation, in sentences, before a mail finds out.

``config.load`` refuses what is wrong in the file itself; here the settings meet the world: the organisation
and its mailboxes, rules, model, certificates, and with ``connect`` the servers that they name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from imapclient.exceptions import IMAPClientError
from sqlalchemy.exc import DBAPIError

from mailrouter import config, organisation, restrictions, smarthost, store, webhooks
from mailrouter.compose.signature import signer
from mailrouter.config import ConfigError, Settings
from mailrouter.doors import listen
from mailrouter.doors.folder import Folder, FolderError, client_tls
from mailrouter.organisation import Organisation, OrganisationError
from mailrouter.smarthost import SmtpSmarthost

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]]+@[\w-]+(\.[\w-]+)+")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})")
_LOOPBACK = ("127.", "localhost:", "[::1]:")
_SHOWN = 5  # names in one sentence


def start_problems(settings: Settings) -> list[str]:
    """What must be mended before the service starts; empty when nothing. Opens no connection."""
    checks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        _time_zone,
        _doors,
        _certificates,
        _addresses,
        _clocks,
        _store_address,
        _ways_out,
        _knowledge,
    )
    return [sentence for check in checks for sentence in check(settings)]


def problems(settings: Settings, *, connect: bool = False) -> list[str]:
    """Everything that can be told: the above, and with ``connect`` whether each server lets us in."""
    found = start_problems(settings)
    if connect:
        found += [*_database(settings), *_imap_folders(settings), *_smarthost_login(settings)]
    return found


def notes(settings: Settings) -> list[str]:
    """What an operator should know though nothing is wrong."""
    return [*_where_mail_goes(settings), *_open_to_others(settings), *_readable_secrets(settings)]


def _time_zone(settings: Settings) -> Iterator[str]:
    try:
        ZoneInfo(settings.city.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f'city.timezone: there is no time zone "{settings.city.timezone}"'


def _doors(settings: Settings) -> Iterator[str]:
    smtp = settings.smtp
    if not smtp.listen and not smtp.lmtp_listen and not settings.imap:
        yield "no mail can come in: smtp.listen, smtp.lmtp_listen and imap are all empty"
    listens = {"smtp.listen": smtp.listen, "smtp.lmtp_listen": smtp.lmtp_listen, "desk.listen": settings.desk.listen}
    for setting, value in listens.items():
        path = setting == "smtp.lmtp_listen" and "/" in value
        if not path and (value or setting == "desk.listen") and not _is_host_port(value):
            yield f'{setting}: "{value}" is not HOST:PORT'
    for value, count in Counter(value for value in listens.values() if value).items():
        if count > 1 and not value.endswith(":0"):
            yield f"{' and '.join(key for key in listens if listens[key] == value)} are both {value}"
    for name, count in Counter(account.name for account in settings.imap).items():
        if count > 1:
            yield f'imap: {count} accounts have the name "{name}"; each needs its own'


def _is_host_port(value: str) -> bool:
    matched = _HOST_PORT.fullmatch(value)
    return matched is not None and int(matched[2]) <= 65535


def _certificates(settings: Settings) -> Iterator[str]:
    try:
        listen.server_tls(settings.smtp)
    except ConfigError as error:
        yield str(error)
    for account in settings.imap:
        try:
            client_tls(account)
        except ConfigError as error:
            yield str(error)


def _addresses(settings: Settings) -> Iterator[str]:
    smtp, forward = settings.smtp, settings.forward
    if (smtp.listen or smtp.lmtp_listen) and not smtp.recipients:
        yield "smtp.recipients: no address is listed, so every mail would be refused"
    ours = [("smtp.recipients", address) for address in smtp.recipients]
    for setting, address in [
        *ours,
        ("forward.from_address", forward.from_address),
        ("forward.reply_address", forward.reply_address),
    ]:
        if not _ADDRESS.fullmatch(address):
            yield f'{setting}: "{address}" is not a mail address'
    if "+" in forward.reply_address:
        yield f'forward.reply_address: "{forward.reply_address}" has a + already; the token is put behind one'
    for domain in settings.city.domains:
        if "@" in domain or domain != domain.lower() or not _ADDRESS.fullmatch(f"x@{domain}"):
            yield f'city.domains: "{domain}" is not a domain in small letters, such as stad.example'


def _clocks(settings: Settings) -> Iterator[str]:
    begin, end = settings.deadline.office_hours
    if not 0 <= begin < end <= 24:
        yield f"deadline.office_hours: from {begin} to {end} are no hours of a day"
    days = settings.deadline.remind_days_before
    if days != sorted(set(days), reverse=True) or days[-1] < 0:
        yield f"deadline.remind_days_before: {days} must fall, and end at 0 or more"


def _store_address(settings: Settings) -> Iterator[str]:
    try:
        store.connect(settings.store).dispose()
    except ConfigError as error:
        yield str(error)


def _ways_out(settings: Settings) -> Iterator[str]:
    try:
        smarthost.open_smarthost(settings).close()
    except ConfigError as error:
        yield str(error)
    try:
        signer(settings.forward)
    except ConfigError as error:
        yield str(error)


def _knowledge(settings: Settings) -> Iterator[str]:
    """Organisation, rules and model, and that they speak of the same areas."""
    try:
        city = organisation.load(settings.classify.organisation)
    except OrganisationError as error:
        yield from str(error).splitlines()
        return
    yield from _mailboxes(settings, city)
    yield from _rules_and_model(settings.classify, city)


def _mailboxes(settings: Settings, city: Organisation) -> Iterator[str]:
    outside = [
        f"{mailbox} ({unit.id})"
        for unit in city.units.values()
        for mailbox in (unit.mailbox, unit.alternative, unit.head)
        if mailbox and mailbox.rpartition("@")[2].lower() not in settings.city.domains
    ]
    if outside:
        yield (
            f"{settings.classify.organisation}: outside city.domains ({', '.join(settings.city.domains)}), where"
            f" nothing may be sent: {_shortened(outside)}"
        )


def _rules_and_model(settings: config.Classify, city: Organisation) -> Iterator[str]:
    from mailrouter.classify import encoder, model, rules  # noqa: PLC0415 (numpy is loaded only to look at a model)

    if not settings.rules.is_dir():
        yield f"classify.rules: there is no folder {settings.rules}"
    yield from rules.check(settings.rules, city)
    try:
        used = model.load(settings.models)
        encoder.load(settings.models)
        encoder.dense_of(settings.models, used.card.version)
    except (model.ModelError, encoder.EncoderError) as error:
        yield str(error)
        return
    unknown = sorted(set(used.heads["area"]) - city.areas.keys())
    if unknown:
        yield f"the model {used.card.version} suggests what the organisation does not have: {_shortened(unknown)}"


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _database(settings: Settings) -> Iterator[str]:
    try:
        opened = store.connect_existing(settings.store)
    except ConfigError:
        return  # no register yet is fine, and an unusable address was said already
    try:
        opened.check()
    except DBAPIError as error:
        yield f"store.url: the database does not answer: {str(error.orig).strip().splitlines()[0]}"
    else:
        yield from _seen_by_nobody(opened)
        yield from _webhooks(opened)
    finally:
        opened.dispose()


def _seen_by_nobody(opened: store.Store) -> Iterator[str]:
    """Restricted cases that wait while nobody who sorts may see them."""
    try:
        with opened.read() as session:
            found = restrictions.unseen(session)
    except DBAPIError:
        return  # a register of an older release, which `mailrouter run` brings up to date
    for restriction, count in found.items():
        yield (
            f"restricted cases ({restriction}) wait that no active user who sorts is cleared to see: {count};"
            f" `mailrouter user change NAME --clearance {restriction}`"
        )


def _webhooks(opened: store.Store) -> Iterator[str]:
    """Webhooks whose receiver has not taken anything for long."""
    try:
        with opened.read() as session:
            found = webhooks.failing(session)
    except DBAPIError:
        return  # as above
    for name, status in found.items():
        yield f"webhook {name}: its receiver takes nothing ({status})"


def _imap_folders(settings: Settings) -> Iterator[str]:
    for account in settings.imap:
        for folder in account.folders:
            try:
                with Folder(account, folder, client_tls(account)) as opened:
                    opened.open()
            except (OSError, ConfigError, FolderError, IMAPClientError) as error:
                yield f"imap account {account.name}: cannot open {folder}: {error}"


def _smarthost_login(settings: Settings) -> Iterator[str]:
    if settings.smarthost.kind == "smtp":
        way = SmtpSmarthost(settings.smarthost, settings.city.domains, settings.smtp.hostname)
        objection = way.try_out()
        way.close()
        if objection:
            yield f"smarthost: {objection}"


def _where_mail_goes(settings: Settings) -> Iterator[str]:
    way = settings.smarthost
    if way.kind == "maildir":
        yield f"Forwards are put into Maildirs under {way.maildir}; nothing leaves this machine."
    else:
        domains = ", ".join(settings.city.domains)
        yield f"Forwards go through {way.host}:{way.port}, to addresses in {domains} and nowhere else."
        if way.tls == "none" and not _is_loopback(f"{way.host}:"):
            yield 'smarthost.tls is "none": mails travel in clear.'
    try:
        city = organisation.load(settings.classify.organisation)
    except OrganisationError:
        return
    today = date.today()  # noqa: DTZ011 (the operator's day)
    ours = [unit for unit in city.units.values() if unit.kind != "extern" and unit.answers_on(today)]
    without = [unit.id for unit in ours if not unit.mailbox]
    if without:
        yield f"These units have no mailbox, so nothing can be forwarded to them: {', '.join(without)}."


def _open_to_others(settings: Settings) -> Iterator[str]:
    smtp, desk = settings.smtp, settings.desk
    for setting, value in (("smtp.listen", smtp.listen), ("smtp.lmtp_listen", smtp.lmtp_listen)):
        if value and "/" not in value and not _is_loopback(value) and smtp.tls_certificate is None:
            yield f"{setting} is {value} without a certificate: mail comes in unencrypted."
    if not _is_loopback(desk.listen) and not desk.secure_cookies:
        yield f"desk.listen is {desk.listen} and desk.secure_cookies is off: put HTTPS in front and switch it on."


def _is_loopback(listen_address: str) -> bool:
    return listen_address.startswith(_LOOPBACK)


def _readable_secrets(settings: Settings) -> Iterator[str]:
    named: list[tuple[str, Path | None]] = [
        ("store.password_file", settings.store.password_file),
        ("smarthost.password_file", settings.smarthost.password_file),
        ("smtp.tls_key", settings.smtp.tls_key),
        *((f"imap {account.name}: password_file", account.password_file) for account in settings.imap),
    ]
    for setting, file in named:
        if file is not None and file.is_file() and file.stat().st_mode & 0o004:
            yield f"{setting}: every user of this machine can read {file}; chmod 640 keeps others out."
