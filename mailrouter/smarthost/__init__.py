"""The way out: hand one mail to the smarthost and tell what became of it in one of three words.

``Sent`` is a promise of the other side, ``Later`` asks for another try, ``Never`` is for a person at the
desk. Nothing in here raises for what a server, a network or a disk does.
"""

from mailrouter import config
from mailrouter.smarthost.maildir import MaildirSmarthost
from mailrouter.smarthost.outcomes import Later, Never, Outcome, Sent, Smarthost
from mailrouter.smarthost.smtp import SmtpSmarthost

__all__ = ["Later", "MaildirSmarthost", "Never", "Outcome", "Sent", "Smarthost", "SmtpSmarthost", "open_smarthost"]


def open_smarthost(settings: config.Settings) -> Smarthost:
    """The smarthost that the settings name; connects at the first mail. Raises ConfigError for a bad CA file."""
    domains = settings.city.domains
    if settings.smarthost.kind == "maildir":
        return MaildirSmarthost(settings.smarthost.maildir, domains)
    return SmtpSmarthost(settings.smarthost, domains, settings.smtp.hostname)
