"""The octets of DATA: where they end, what they are, whom they are for."""

import pytest

from mailrouter.config import Forward, Settings, Smtp
from mailrouter.doors.data import DataCollector
from mailrouter.doors.recipients import Recipients
from mailrouter.number import new_token
from tests.smtp_client import wire

MAILS = {
    "ordinary": b"Subject: Hej\r\n\r\nHej\r\n",
    "empty": b"",
    "one empty line": b"\r\n",
    "a dot alone on a line": b"a\r\n.\r\nb\r\n",
    "dots at the start of lines": b".a\r\n..b\r\n...\r\n....c\r\n",
    "only dots": b".\r\n..\r\n.\r\n",
    "bare line feeds": b"a\nb\n.\nc\n\r\n",
    "bare carriage returns": b"a\rb\r.\rc\r\r\n",
    "dot between bare line ends": b"a\n.\r\nb\r\n.\nc\r.\r\nd\r\n",
    "nul": b"a\0b\0\r\n\0\r\n",
    "eight bit": bytes(range(256)) + b"\r\n",
    "long line": b"x" * 100_000 + b"\r\n",
}


def collect(collector: DataCollector, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed pieces until the end mark is seen: the mail, and what followed it."""
    for index, piece in enumerate(pieces):
        rest = collector.feed(piece)
        if rest is not None:
            return collector.octets(), rest + b"".join(pieces[index + 1 :])
    raise AssertionError("no end mark")


@pytest.mark.parametrize("mail", MAILS.values(), ids=MAILS)
def test_a_mail_comes_out_as_it_went_in(mail: bytes) -> None:
    """Stuffed dots go, everything else stays, and what follows the end mark is handed back."""
    assert collect(DataCollector(1_000_000), [wire(mail) + b"QUIT\r\n"]) == (mail, b"QUIT\r\n")


@pytest.mark.parametrize("mail", [mail for mail in MAILS.values() if len(mail) < 1_000])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_pieces_make_no_difference(mail: bytes, size: int) -> None:
    """However the network cuts a mail and its end mark, it is the same mail."""
    sent = wire(mail) + b"RSET\r\n"
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert collect(DataCollector(1_000_000), pieces) == (mail, b"RSET\r\n")


@pytest.mark.parametrize("mark", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\0\r\n"])
def test_nothing_but_the_end_mark_ends_a_mail(mark: bytes) -> None:
    """What looks like an end of data to a careless server is content, octet for octet (no smuggling)."""
    smuggled = b"Subject: a\r\n\r\nbody" + mark + b"MAIL FROM:<x@post.example>\r\n"
    mail, rest = collect(DataCollector(1_000_000), [smuggled + b".\r\n"])
    expected = smuggled.replace(b"\r\n.", b"\r\n")  # a line that starts with a dot loses it (RFC 5321 4.5.2)
    assert (mail, rest) == (expected, b"")


def test_the_limit_counts_the_mail_and_not_its_stuffing() -> None:
    """A mail of exactly the limit is kept, dots and all; one octet more is refused and not kept."""
    mail = b".\r\n" * 300
    fits, over = DataCollector(len(mail)), DataCollector(len(mail) - 1)
    assert collect(fits, [wire(mail)]) == (mail, b"")
    assert fits.refusal == ""
    collect(over, [wire(mail)])
    assert over.refusal.startswith("552 5.3.4")


def test_an_oversized_mail_does_not_stay_in_memory() -> None:
    """Far over the limit the octets are let go, and the end mark is still seen across pieces."""
    collector = DataCollector(1_000)
    for _ in range(100):
        assert collector.feed(b"x" * 1_000) is None
        assert collector.held < 3_000
    assert collector.feed(b"\r\n.") is None
    assert collector.feed(b"\r\nNOOP\r\n") == b"NOOP\r\n"
    collector.octets()
    assert collector.refusal.startswith("552 5.3.4")


TOKEN = new_token()
OURS = Settings(
    smtp=Smtp(recipients=["goteborg@stad.example", "Synpunkter@Räksmörgås.example"]),
    forward=Forward(reply_address="svar@stad.example"),
)


@pytest.mark.parametrize(
    "address",
    [
        "goteborg@stad.example",
        "GOTEBORG@Stad.Example",
        "synpunkter@räksmörgås.example",
        "synpunkter@RÄKSMÖRGÅS.example",
        "synpunkter@xn--rksmrgs-5wao1o.example",
        f"svar+{TOKEN}@stad.example",
        f"SVAR+{TOKEN.upper()}@STAD.EXAMPLE",
    ],
)
def test_our_addresses_are_known(address: str) -> None:
    """Configured addresses in any spelling, and the reply address with a token."""
    assert Recipients(OURS).accept(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "goteborg",
        "goteborg@",
        "@stad.example",
        "goteborg@stad.example.example.se",
        "goteborg%example.se@stad.example",
        "example.se!goteborg@stad.example",
        "anna@example.se",
        "svar@stad.example",
        "svar+@stad.example",
        "svar+hej@stad.example",
        f"svar+{TOKEN}x@stad.example",
        f"svar+{TOKEN}@example.se",
        f"annan+{TOKEN}@stad.example",
        f"goteborg+{TOKEN}@stad.example",
        "goteborg@" + "a" * 100 + ".example",
        "g\udcffteborg@stad.example",
        "goteborg@st\udcffd.example",
    ],
)
def test_everybody_else_is_not(address: str) -> None:
    """No open relay: whatever is not ours is refused, however it is dressed up."""
    assert not Recipients(OURS).accept(address)
