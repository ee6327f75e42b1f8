"""`python -m benchmarks [NAME …]`: run all benchmarks, or those named."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.harness import Report, ground

NAMES = (
    "webhooks",
    "projects",
    "delivery",
    "latency",
    "click",
    "coalescing",
    "startup",
    "doors",
    "history",
    "outage",
    "memory",
    "verifying",
)


def main(wanted: list[str]) -> int:
    """Print figures; 0 when every target is reached."""
    if unknown := set(wanted) - set(NAMES):
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    report = Report()
    for name in wanted or NAMES:
        module = import_module(f"benchmarks.{name}")
        print(f"\n{name}: {str(module.__doc__).splitlines()[0]}", flush=True)
        with ground() as place:
            module.measure(place, report)
    print(f"\nmissed: {', '.join(report.missed)}" if report.missed else "\nAll targets are reached.")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
