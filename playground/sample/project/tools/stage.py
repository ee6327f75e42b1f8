"""Stand in for one stage of a build: says what it would do, line by line, and takes as long as it is told."""

import argparse
import sys
import time

STAGES = {
    "install": ["read requirements", "resolve 12 packages", "install them"],
    "compile": ["parse 214 files", "resolve imports", "generate code", "link"],
    "unit tests": ["cart", "checkout", "invoices", "stock", "vouchers"],
    "integration tests": ["start the database", "load 2,000 orders", "pay", "refund", "report"],
    "package": ["collect", "compress", "sign"],
}


def main() -> int:
    """Read the stage and its duration in seconds, go through its lines, return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long the whole stage takes")
    options = parser.parse_args()
    lines = STAGES[options.stage]
    for number, line in enumerate(lines, start=1):
        time.sleep(options.seconds / len(lines))
        print(f"[{number}/{len(lines)}] {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
