"""``make bench``: measure beside Postfix, mbsync and fastText, print a table, fail when a ratio is below its floor."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import accept, classify, desk, letters, pull
from bench.table import HEADER, Row

MEASURES = {"accept": accept.measure, "pull": pull.measure, "letters": letters.measure, "classify": classify.measure}


def main() -> None:
    """Run the measures named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("measure", nargs="*", choices=[[], *MEASURES, "desk"], help="default: all but desk")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--cases", type=int, default=1_000_000, help="how many the desk has (default: 1000000)")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.rounds} rounds")
    if chosen.measure != ["desk"]:
        print(HEADER)
    failed = False
    for name in chosen.measure or MEASURES:
        with tempfile.TemporaryDirectory(prefix="mr-bench-") as place:
            folder = Path(place)
            folder.chmod(0o755)
            rows: Iterator[Row | desk.Timing] = (
                desk.measure(chosen.rounds, folder, chosen.cases)
                if name == "desk"
                else MEASURES[name](chosen.rounds, folder)
            )
            for row in rows:
                print(row, flush=True)
                failed |= row.ratio < row.floor
    if failed:
        sys.exit("A ratio is below its floor.")


if __name__ == "__main__":
    main()
