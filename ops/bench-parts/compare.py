"""Compares fluxoscope with nfacctd and nfcapd, and its SNMP agent with snmpd. Started by ops/bench, which says what the options mean."""

import argparse
import os
import shutil
import signal
import sys
import tempfile

import large
import live
import replay
import snmp
from common import Bench, say


def main():
    parser = argparse.ArgumentParser(prog="ops/bench")
    parser.add_argument("--fluxoscope", required=True)
    parser.add_argument("--only", choices=["replay", "live", "table", "snmp"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--v5", type=int, default=5_000_000)
    parser.add_argument("--v9", type=int, default=3_000_000)
    parser.add_argument("--live-seconds", type=float, default=6.0)
    parser.add_argument("--snmp-seconds", type=float, default=3.0)
    parser.add_argument("--snmp-ingest", type=float, nargs="*", default=[1_000_000, 3_000_000])
    options = parser.parse_args()
    if options.runs < 1 or min(options.v5, options.v9) < 1000:
        parser.error("at least one run, and a thousand records")

    # Ends by exceptions, so that what was started is stopped and the directory removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    directory = tempfile.mkdtemp(prefix="fluxoscope-bench-")
    bench = Bench(directory, os.path.abspath(options.fluxoscope), options.runs)
    try:
        bench.write_configuration()
        tables, more = [], []
        if options.only in (None, "replay"):
            tables += replay.compare(bench, "v5", options.v5, "v5")
            tables += replay.compare(bench, "v9", options.v9, "v9, two families")
            # Family is part of a usage row's key: half as many rows, as many records.
            bench.write_configuration(is_dual=False)
            tables += replay.compare(bench, "v9", options.v9, "v9, one family")
            # As many records to a usage row as in the v5 capture, some seventeen.
            tables += replay.compare(bench, "v9", options.v9, "v9, as many records a row as v5", density=2.4)
            bench.write_configuration()
        if options.only in (None, "live"):
            tables += live.compare(bench, "v5", options.live_seconds)
            tables += live.compare(bench, "v9", options.live_seconds)
        if options.only in (None, "snmp"):
            more += snmp.compare(bench, options.snmp_seconds, options.snmp_ingest)
        if options.only in (None, "table"):
            more += large.compare(bench)
    finally:
        bench.stop_all()
        shutil.rmtree(directory, ignore_errors=True)
    say("done")
    # The ratios are those of the first figure that a row has.
    columns = [
        "", "program", "records a second, none lost", "records a CPU second", "to nfacctd", "to nfcapd", "seconds",
        "memory", "lost", "totals",
    ]
    if tables:
        more.insert(0, (columns, tables))
    print("\n\n".join(table(head, rows) for head, rows in more))


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
