"""Sockets and certificates of the doors, opened before anything runs: what is wrong is said at start."""

import os
import socket
import ssl
from contextlib import closing
from pathlib import Path

from mailrouter import config
from mailrouter.config import ConfigError

BACKLOG = 512
LEAST_TLS = ssl.TLSVersion.TLSv1_2  # RFC 8996: nothing older


def bind(setting: str, listen: str) -> socket.socket:
    """A listening socket at ``listen``: HOST:PORT, [IPV6]:PORT, or a path with a slash for a unix socket.

    ``setting`` names the setting in the ConfigError that is raised when nobody can listen there.
    """
    try:
        return _bind_unix(Path(listen)) if "/" in listen else _bind_tcp(setting, listen)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(f"{setting}: cannot listen on {listen}: {reason}") from error


def _bind_tcp(setting: str, listen: str) -> socket.socket:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{setting}: {listen!r} is not HOST:PORT")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)


def _bind_unix(path: Path) -> socket.socket:
    """A unix socket in place of one that a dead process left behind; the folder's mode says who may come in."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


def server_tls(settings: config.Smtp) -> ssl.SSLContext | None:
    """The context for STARTTLS, or None without a certificate. Raises ConfigError when it cannot be read."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    for setting, file in (("tls_certificate", settings.tls_certificate), ("tls_key", settings.tls_key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise ConfigError(f"smtp.{setting}: cannot read {file}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = LEAST_TLS
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"smtp.tls_certificate: {settings.tls_certificate} with {settings.tls_key} is not a usable certificate:"
            f" {error.reason or error}"
        ) from error
    return context
