"""A simulated year through the real functions: every count is right, nobody is stormed, every case ends.

Here with few cases, so that it takes seconds; ``python -m bench.year`` does it with five thousand.
"""

from datetime import date

from mailrouter import config
from mailrouter.store import Store
from tests.year import FATES, SILENT, Year

SETTINGS = config.Settings(
    smarthost=config.Smarthost(connections=1), citizen=config.Citizen(acknowledge=False)  # citizens have no clock
)  # fmt: skip


def test_a_year(db: Store) -> None:
    """With holidays, changes of the hour, an outage of three days and a silent unit: all is told as the ladder says.

    On PostgreSQL some months, in which Easter and summer time fall.
    """
    if db.sqlite:
        year = Year(db, SETTINGS, cases=60, hours=(8, 13))
    else:
        year = Year(db, SETTINGS, cases=15, hours=(8, 13), first=date(2026, 3, 1), days=30)
    year.run()
    assert year.faults() == []
    assert {plan.fate for plan in year.plans.values()} == set(FATES) or not db.sqlite
    told = {whom for (_, whom), count in year.expected.items() if count}
    assert told >= {"registrator", "chef", "unconfirmed", "delayed"} | ({"urgent"} if db.sqlite else set())
    assert max(year.digests().values()) == 1
    assert any(reader.startswith(SILENT) for reader, _ in year.digests())
