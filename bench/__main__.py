"""``make bench``: measure beside Postfix, mbsync and fastText, print a table, fail when a ratio is below its floor."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import accept, classify, letters, pull
from bench.table import HEADER

MEASURES = {"accept": accept.measure, "pull": pull.measure, "letters": letters.measure, "classify": classify.measure}


def main() -> None:
    """Run the measures named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("measure", nargs="*", choices=[[], *MEASURES], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.rounds} rounds")
    print(HEADER)
    failed = False
    for name in chosen.measure or MEASURES:
        with tempfile.TemporaryDirectory(prefix="mr-bench-") as place:
            folder = Path(place)
            folder.chmod(0o755)
            for row in MEASURES[name](chosen.rounds, folder):
                print(row, flush=True)
                failed |= row.ratio < row.floor
    if failed:
        sys.exit("A ratio is below its floor.")


if __name__ == "__main__":
    main()
