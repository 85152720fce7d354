"""Settings: one typed object from one TOML file, environment overrides and secret files.

Every setting has a default that is safe on a laptop: SQLite under ``var/``, doors on the loopback
address, and a local smarthost that only ever writes Maildirs. Nothing leaves the machine until an
operator configures a real smarthost. docs/settings.md lists every setting (a test holds it to that).
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

Port = Annotated[int, Field(ge=0, le=65535)]
DEFAULTS = Path(__file__).parent.parent
LINK_KEY_CHARS = 32


class ConfigError(Exception):
    """The configuration cannot be used; the message is the sentence the operator reads."""


class Section(BaseModel):
    """A table of the TOML file: unknown keys are refused, since a misspelt setting is a silent one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _secret(value: SecretStr | None, file: Path | None, name: str) -> SecretStr | None:
    if file is None:
        return value
    try:
        return SecretStr(file.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ValueError(f"{name}_file: cannot read {file}: {error.strerror}") from error


class Secretive(Section):
    """A section that logs in somewhere; the password itself, or better a file that holds it."""

    user: str = Field("", description="Login name; empty means no authentication.")
    password: SecretStr | None = Field(None, description="Password; prefer password_file.")
    password_file: Path | None = Field(None, description="File whose content is the password.")

    @model_validator(mode="after")
    def _read_password(self) -> Self:
        object.__setattr__(self, "password", _secret(self.password, self.password_file, "password"))
        if self.user and self.password is None:
            raise ValueError(f'user "{self.user}" has no password; set password_file')
        return self


class City(Section):
    """Who we are towards citizens and förvaltningar."""

    name: str = Field("Göteborgs Stad", description="Name of the municipality, used in mails and pages.")
    domains: list[str] = Field(
        ["stad.example"],
        min_length=1,
        description="Mail domains a forward may go to; any unit mailbox outside them stops the start.",
    )
    timezone: str = Field("Europe/Stockholm", description="Time zone of arrival days and due dates.")
    link_key_file: Path | None = Field(
        None,
        description="File with the keys that sign links in mails, one a line: the first signs, all are accepted. "
        "Without it a key is made and kept in the database.",
    )
    _link_keys: tuple[bytes, ...] = PrivateAttr(())

    @property
    def link_keys(self) -> tuple[bytes, ...]:
        """The keys of ``link_key_file``; empty without one."""
        return self._link_keys

    @model_validator(mode="after")
    def _read_link_keys(self) -> Self:
        secret = _secret(None, self.link_key_file, "link_key")
        if secret is not None:
            keys = tuple(line.encode() for line in secret.get_secret_value().split())
            if not keys or min(map(len, keys)) < LINK_KEY_CHARS:
                raise ValueError(f"link_key_file: needs keys of at least {LINK_KEY_CHARS} characters, one a line")
            self._link_keys = keys
        return self


class Store(Section):
    """The database: SQLite for one machine, PostgreSQL for several nodes."""

    url: str = Field(
        "sqlite:///var/mailrouter.db",
        description="SQLAlchemy address: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME.",
    )
    password_file: Path | None = Field(None, description="File with the database password, kept out of url.")


class Smtp(Section):
    """The SMTP and LMTP doors through which mail is taken in."""

    listen: str = Field("127.0.0.1:2525", description="HOST:PORT of the SMTP door; empty closes it.")
    lmtp_listen: str = Field("", description="HOST:PORT or a socket path of the LMTP door; empty closes it.")
    hostname: str = Field("mailrouter.example", description="Name said in the greeting (RFC 5321 4.2).")
    recipients: list[str] = Field(
        ["goteborg@stad.example"],
        description="The only addresses mail is accepted for, besides our own reply tokens: no open relay.",
    )
    max_bytes: int = Field(52_428_800, ge=65_536, description="Largest mail accepted, in bytes (RFC 1870).")
    max_recipients: int = Field(100, ge=1, description="Most recipients in one transaction.")
    max_connections: int = Field(200, ge=1, description="Most connections open at once; more get 421.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; with tls_key it offers STARTTLS.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_certificate.")

    @model_validator(mode="after")
    def _tls_pair(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; one of them is missing")
        return self


class ImapAccount(Secretive):
    """One mailbox account that is watched."""

    name: str = Field(min_length=1, description="Short name of the account; part of the cursor's key, never change it.")
    host: str = Field(min_length=1, description="IMAP server.")
    port: Port = Field(993, description="Port of the IMAP server.")
    tls: Literal["implicit", "starttls", "none"] = Field("implicit", description="How the connection is secured.")
    tls_ca_file: Path | None = Field(None, description="PEM with the authorities trusted instead of the system's.")
    folders: list[str] = Field(["INBOX"], min_length=1, description="Folders that are watched.")
    move_to: str = Field("", description="Folder taken mails are moved to after the commit; empty leaves them.")
    poll_seconds: int = Field(180, ge=5, description="Look this often even when IDLE says nothing.")
    idle_seconds: int = Field(1200, ge=5, le=1680, description="Renew IDLE this often (RFC 2177: below 29 minutes).")
    timeout_seconds: int = Field(60, ge=1, description="Give up a silent server after this long, then reconnect.")


class Smarthost(Secretive):
    """Where forwards are handed over. The default delivers to Maildirs on this machine and nowhere else."""

    kind: Literal["maildir", "smtp"] = Field("maildir", description="maildir: local folders; smtp: a real smarthost.")
    maildir: Path = Field(Path("var/mailboxes"), description="Folder of the local Maildirs, for kind maildir.")
    host: str = Field("", description="Smarthost name, for kind smtp.")
    port: Port = Field(25, description="Smarthost port.")
    tls: Literal["starttls", "implicit", "none"] = Field("starttls", description="How the connection is secured.")
    tls_ca_file: Path | None = Field(None, description="PEM with the authorities trusted instead of the system's.")
    timeout_seconds: int = Field(60, ge=1, description="Longest wait for one reply of the smarthost.")
    connections: int = Field(2, ge=1, le=20, description="Connections kept open to the smarthost.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "smtp" and not self.host:
            raise ValueError('kind = "smtp" needs host')
        return self


class Forward(Section):
    """How a forward looks and how long it is tried."""

    from_address: str = Field("kontaktcenter@stad.example", description="Own From; the citizen is named in the note.")
    from_name: str = Field("Göteborgs Stad kontaktcenter", description="Display name of from_address.")
    reply_address: str = Field(
        "svar@stad.example",
        description="Replies and bounces come to this address with +TOKEN before the @; it must reach our doors.",
    )
    links: bool = Field(
        True, description="Put links in the cover notes, by which a registrator answers without writing a mail."
    )
    retry_minutes: list[Annotated[float, Field(gt=0)]] = Field(
        [1, 5, 15, 60, 240],
        min_length=1,
        description="Waits after temporary failures; the last one repeats. Each gets up to 20 % jitter.",
    )
    give_up_days: int = Field(5, ge=1, description="A forward still failing after this long goes back to the desk.")
    dkim_key_file: Path | None = Field(
        None,
        description="Private key that signs every mail (DKIM): PEM with RSA or Ed25519. Without it none is signed.",
    )
    dkim_selector: str = Field("", description="Selector under which the public key stands in the DNS.")
    dkim_domain: str = Field("", description="Domain that signs; empty means the domain of from_address.")
    _dkim_key: SecretStr | None = PrivateAttr(None)

    @property
    def dkim_key(self) -> SecretStr | None:
        """The content of ``dkim_key_file``."""
        return self._dkim_key

    @model_validator(mode="after")
    def _read_dkim_key(self) -> Self:
        self._dkim_key = _secret(None, self.dkim_key_file, "dkim_key")
        if self._dkim_key is not None and not self.dkim_selector:
            raise ValueError("dkim_key_file needs dkim_selector, the name of the key in the DNS")
        return self


class Citizen(Section):
    """The mails that citizens get by themselves: that it has come in, and who has it."""

    acknowledge: bool = Field(True, description="Tell citizens who gave an address what becomes of their matter.")
    most_a_day: int = Field(
        5, ge=1, description="Most automatic mails to one address in 24 hours; no loop gets further, nor any mischief."
    )


class Deadline(Section):
    """The answer clock."""

    weeks: int = Field(4, ge=1, description="Answer date, counted from the day of arrival.")
    remind_days_before: list[Annotated[int, Field(ge=0)]] = Field(
        [7, 2, 0], min_length=1, description="Days before the answer date when the unit is reminded of it."
    )
    office_hours: tuple[int, int] = Field((8, 16), description="Reminders go out on working days between these hours.")
    overdue_days: int = Field(7, ge=1, description="Days between reminders once the answer date is past.")
    head_days: int = Field(
        14, ge=0, description="Days past the answer date from which the head of the unit is reminded too."
    )
    register_days: int = Field(
        3, ge=1, description="Working days within which a unit gives its diarienummer; then it is asked for it."
    )
    confirm_hours: int = Field(8, ge=1, description="Office hours a case may wait to be sorted; then the desk is told.")
    deliver_hours: int = Field(
        4, ge=1, description="Office hours a forward may wait for the smarthost; then the desk is told."
    )
    delay_weeks: int = Field(
        4, ge=1, description="Weeks past the answer date when the desk is shown a notice of delay to send (FL 11 §)."
    )
    pause_weeks: int = Field(4, ge=1, description="Weeks a clock may stand still; then, and again, the desk is asked.")
    kind_days: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {"begaran-handling": 2, "overklagande": 0, "orosanmalan": 0},
        description="Kinds that cannot wait, and the working days a unit has for them from the day it gets them.",
    )
    at_once_kinds: list[str] = Field(
        ["orosanmalan"], description="Kinds for which nights and days off count as any other time."
    )
    unreminded_kinds: list[str] = Field(
        ["berom"], description="Kinds nobody is reminded to answer; they are registered all the same."
    )
    urgent_hours: int = Field(
        2, ge=1, description="Hours after which desk and unit are told of a kind that cannot wait and has not moved."
    )
    repeat_days: int = Field(
        60, ge=0, description="A case is linked to a like one from the same sender within so many days; 0 never does."
    )


class Desk(Section):
    """The web desk."""

    listen: str = Field("127.0.0.1:8080", description="HOST:PORT of the desk.")
    base_url: str = Field("http://127.0.0.1:8080", description="Address people reach the desk at, used in links.")
    public_url: str = Field(
        "", description="Address of the pages that need no login, as in mails to citizens; empty means base_url."
    )
    session_hours: int = Field(10, ge=1, description="A login lasts this long.")
    hold_minutes: float = Field(
        5, ge=1, le=60, description="Whoever opens a case first holds it this long; an open page goes on holding."
    )
    undo_seconds: int = Field(
        10,
        ge=0,
        le=120,
        description="What is decided at the desk leaves after this long, and can be undone until then.",
    )
    api_per_minute: int = Field(600, ge=1, description="Requests a client of the JSON API may make in a minute.")
    secure_cookies: bool = Field(False, description="Set to true behind HTTPS: cookies are then sent over TLS only.")


class Oidc(Section):
    """Logging in at the desk by the city's own accounts (OpenID Connect). Local users may log in beside them."""

    issuer: str = Field("", description="Address of the OpenID provider, exactly as it names itself; empty is off.")
    client_id: str = Field("", description="What the provider calls mailrouter.")
    client_secret: SecretStr | None = Field(None, description="The client's secret; prefer client_secret_file.")
    client_secret_file: Path | None = Field(None, description="File whose content is the client's secret.")
    scopes: list[str] = Field(["openid", "profile"], description="What the provider is asked to tell.")
    name_claim: str = Field("preferred_username", description="Claim that names the user in the history of cases.")
    role_claim: str = Field("roles", description="Claim with the user's roles or groups; a full stop goes inside one.")
    roles: dict[str, Literal["servicevagledare", "registrator", "chef", "admin"]] = Field(
        {}, description="What each value of role_claim lets a user do; nobody without one of them gets in."
    )
    clearances: dict[str, list[Literal["skyddad", "orosanmalan", "visselblasning"]]] = Field(
        {}, description="Which restricted cases each value of role_claim lets a user see."
    )
    unit_claim: str = Field(
        "",
        description="Claim with the id of a registrator's or a manager's unit (`mailrouter units`);"
        " a manager without one sees all.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        object.__setattr__(self, "client_secret", _secret(self.client_secret, self.client_secret_file, "client_secret"))
        if self.issuer and not (self.client_id and self.client_secret and self.roles):
            raise ValueError("issuer needs client_id, client_secret_file and roles")
        loopback = self.issuer.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
        if self.issuer and not self.issuer.startswith("https://") and not loopback:
            raise ValueError("issuer begins with https://")
        if "registrator" in self.roles.values() and not self.unit_claim:
            raise ValueError("a registrator needs a unit: set unit_claim")
        return self


class Classify(Section):
    """Where the organisation, the rules and the model are read from."""

    organisation: Path = Field(DEFAULTS / "rules" / "organisation.yaml", description="Units, areas and districts.")
    rules: Path = Field(DEFAULTS / "rules", description="Folder with the rule files.")
    models: Path = Field(DEFAULTS / "models", description="Folder with the seed corpus and the model versions.")
    promise: float = Field(
        0.98,
        ge=0.5,
        le=0.995,
        description="Of what is called sure, at least this share has the right unit; more makes less of it sure.",
    )
    similar_cases: int = Field(
        10_000, ge=0, description="Newest confirmed cases that suggestions name as alike; 0 names none."
    )
    train_at: str = Field(
        "",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        description='When the work role trains each night, as "02:30" in city.timezone; empty: only by hand.',
    )
    train_least: int = Field(
        50, ge=1, description="Decisions since the version in use was made, below which a night trains nothing."
    )


class Work(Section):
    """The background work."""

    batch: int = Field(20, ge=1, le=500, description="Rows claimed at a time.")
    lease_seconds: int = Field(300, ge=10, description="A claim older than this is taken to be from a dead process.")
    interval_seconds: float = Field(0.5, gt=0, le=60, description="How often work looks for due rows.")


class Settings(BaseSettings):
    """Everything mailrouter can be told. ``load`` reads it; the parts are passed on, never looked up."""

    model_config = SettingsConfigDict(env_prefix="MAILROUTER_", env_nested_delimiter="__", extra="forbid", frozen=True)

    city: City = City()
    store: Store = Store()
    smtp: Smtp = Smtp()
    imap: list[ImapAccount] = []
    smarthost: Smarthost = Smarthost()
    forward: Forward = Forward()
    citizen: Citizen = Citizen()
    deadline: Deadline = Deadline()
    desk: Desk = Desk()
    oidc: Oidc = Oidc()
    classify: Classify = Classify()
    work: Work = Work()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severity logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the signature is pydantic's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment beats the file, whose content arrives as ``init_settings``."""
        return env_settings, init_settings


def load(file: Path | None = None) -> Settings:
    """Read settings from ``file`` (TOML), with ``MAILROUTER_SECTION__KEY`` from the environment on top.

    Without a file, ``MAILROUTER_CONFIG`` names it; without that, the defaults hold.
    Raises ConfigError with one line a fault, each saying where it is and what is wrong.
    """
    chosen = file or (Path(os.environ["MAILROUTER_CONFIG"]) if os.environ.get("MAILROUTER_CONFIG") else None)
    content = _read_toml(chosen) if chosen else {}
    try:
        return Settings(**content)
    except ValidationError as error:
        where = str(chosen) if chosen else "the environment"
        raise ConfigError("\n".join(f"{where}: {_sentence(fault)}" for fault in error.errors())) from error


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: the file is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _sentence(fault: Any) -> str:
    """One pydantic fault as a sentence that names the setting the way the TOML file does."""
    place = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    if fault["type"] == "extra_forbidden":
        return f"{place}: there is no such setting; see docs/settings.md"
    if fault["type"] == "missing":
        return f"{place}: this setting is required"
    message = str(fault["msg"]).removeprefix("Value error, ")
    shown = fault.get("input")
    if isinstance(shown, str | int | float) and "password" not in place:
        return f"{place}: {message} (it is {shown!r})"
    return f"{place}: {message}" if place else message
