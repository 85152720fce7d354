"""A simulated year with many cases: ``python -m bench.year``; says what was told, and fails if anything is wrong."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mailrouter import config, store
from tests.year import Year


def main() -> None:
    """Live the year on SQLite, or on the database that ``--url`` names, and hold it against the pure ladder."""
    parser = argparse.ArgumentParser(prog="bench.year", description=__doc__)
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--url", default="", help="an empty database; default: SQLite in a folder of its own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mr-year-") as folder:
        opened = store.connect(config.Store(url=chosen.url or f"sqlite:///{Path(folder) / 'year.db'}"))
        store.migrate(opened)
        year = Year(opened, config.Settings(), chosen.cases)
        started, used = time.perf_counter(), time.process_time()
        year.run()
        print(
            f"{chosen.cases} cases, {year.ticks} ticks, {len(year.out.delivered)} mails to förvaltningar,"
            f" {time.perf_counter() - started:.0f} s ({time.process_time() - used:.0f} s of CPU)"
        )
        told: Counter[str] = Counter()
        for (_, whom), count in year.expected.items():
            told[whom] += count
        print("told:", ", ".join(f"{whom} {count}" for whom, count in sorted(told.items()) if count))
        print("fates:", ", ".join(f"{fate} {n}" for fate, n in Counter(p.fate for p in year.plans.values()).items()))
        print(f"digests: {sum(year.digests().values())}, most to one reader on a day: {max(year.digests().values())}")
        faults = year.faults()
        opened.dispose()
    print(f"faults: {len(faults)}")
    for fault in faults[:20]:
        print(f"  {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
