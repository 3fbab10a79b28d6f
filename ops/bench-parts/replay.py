"""The replay comparison: a capture to committed usage (fluxoscope), to printed rows (nfacctd), to a store (nfcapd)."""

import os
import shutil
import signal
import subprocess
import time

from common import (
    SOCKET_BUFFER, Failed, Input, Measured, free_port, kernel_drops, mebibytes, median, millions, ratio, say, send,
    totals,
)

# What 1800 s are for: a shorter capture spans less, so that a usage row has as many records.
FULL = {"v5": 20_000_000, "v9": 10_000_000}
NFCAPD_RATE = {"v5": 1_000_000, "v9": 500_000}  # records a second at which it loses none


class Result:
    """One run: processor seconds, wall seconds, memory, records lost, and words on the totals."""

    def __init__(self, cpu, wall, rss, lost, right):
        self.cpu, self.wall, self.rss, self.lost, self.right = cpu, wall, rss, lost, right


def warm(path):
    """Reads a file, so that it is in memory for whoever is first."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def empty(path):
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)


def fluxoscope(bench, given, limit):
    empty(bench.path("state"))
    run = Measured(bench, bench.fluxoscope_command("replay", given.capture), bench.path("replay.log"))
    cpu, rss = run.end(limit)
    wall = time.monotonic() - run.began
    # Every account in every five minutes: the same file as the generator's truth.
    told = bench.path("usage.csv")
    with open(told, "wb") as out:
        subprocess.run(
            bench.fluxoscope_command("usage", "--by", "customer,link,direction,bucket", "--format", "csv"),
            stdout=out, timeout=limit, check=True,
        )
    exact = subprocess.run(["cmp", "-s", told, given.truth], timeout=limit, check=False).returncode == 0
    figures = dict(line.rsplit(None, 1) for line in run.said().splitlines() if line.strip())
    octets = int(figures["bytes"])
    right = totals(octets, bench.fluxoscope_customers(), given)
    right += ", every row as generated" if exact else ", rows differ"
    return Result(cpu, wall, rss, given.records - int(figures["records"]), right)


def nfacctd(bench, given, limit):
    # A row for each account in each five minutes: at most a million in 900 s of this traffic.
    entries = 99_991 if given.span <= 900 else 199_999
    run = bench.nfacctd(f"pcap_savefile: {given.capture}\npcap_savefile_wait: true", entries)
    run.wait_for("finished reading PCAP", limit)
    idle_since = run.wait_idle(limit)
    stopped = time.monotonic()
    run.stop(signal.SIGINT)
    cpu, rss = run.end(limit)
    wall = idle_since - run.began + time.monotonic() - stopped
    records, customers = bench.nfacctd_result()
    return Result(cpu, wall, rss, given.records - records, totals(sum(customers.values()), customers, given))


def nfcapd(bench, given, limit):
    """Debian's nfcapd reads no captures: it gets this one over loopback, slowly enough."""
    store = bench.path("store")
    rate = NFCAPD_RATE[given.protocol]
    for _ in range(3):
        empty(store)
        port = free_port()
        command = ["nfcapd", "-b", "127.0.0.1", "-p", str(port), "-w", store, "-B", str(SOCKET_BUFFER), "-t", "86400"]
        run = Measured(bench, command, bench.path("nfcapd.log"))
        run.wait_for("Startup", 10)
        sent = send(bench, given, port, rate)
        run.wait_idle(limit, 0.5)
        drops = kernel_drops(port)
        run.stop()
        cpu, rss = run.end(30)
        if drops == 0:
            break
        rate /= 2
    flows, octets = store_totals(store)
    return Result(cpu, sent["seconds"], rss, given.records - flows, totals(octets, None, given))


def store_totals(store):
    """Flows and octets in nfcapd's store."""
    flows = octets = 0
    for name in sorted(os.listdir(store)):
        command = ["nfdump", "-r", os.path.join(store, name), "-I"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        figures = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
        flows += int(figures["Flows"])
        octets += int(figures["Bytes"])
    return flows, octets


def nfdump(bench, given, limit):
    """Aggregates what nfcapd stored last, by exporter and interfaces: no customers, no buckets."""
    shown = ["-o", "fmt:%ra %in %out %fl %byt", "-q", "-N"]
    command = ["nfdump", "-R", bench.path("store"), "-A", "router,inif,outif", *shown]
    run = Measured(bench, command, bench.path("nfdump.log"))
    cpu, rss = run.end(limit)
    wall = time.monotonic() - run.began
    rows = [line.split() for line in run.said().splitlines() if line.strip()]
    flows, octets = sum(int(row[-2]) for row in rows), sum(int(row[-1]) for row in rows)
    return Result(cpu, wall, rss, given.records - flows, totals(octets, None, given))


PROGRAMS = [
    ("fluxoscope replay, committed", fluxoscope),
    ("nfacctd, printed", nfacctd),
    ("nfcapd, stored only", nfcapd),
    ("nfdump -A over that store", nfdump),
]


def kept(run, records):
    """Records that arrived: what was lost on the way was no work."""
    return records - max(run.lost, 0)


def compare(bench, protocol, records, title, density=1):
    """Rows of the table for one capture. `density`: how many times as many records a usage row has as in FULL."""
    given = Input(bench, protocol, records, max(60, int(1800 * records / (FULL[protocol] * density))))
    limit = 60 + records / 20_000
    runs = {name: [] for name, _ in PROGRAMS}
    for number in range(bench.runs):
        for name, measure in PROGRAMS:
            warm(given.capture)
            try:
                result = measure(bench, given, limit)
            except (Failed, subprocess.SubprocessError, OSError) as error:
                say(f"{title}, {name}: {error}")
                continue
            say(f"{title} {number + 1}/{bench.runs} {name}: {millions(kept(result, records) / result.cpu)} records a CPU second, "
                f"{result.wall:.1f} s, {mebibytes(result.rss)}, lost {result.lost}, {result.right}")
            runs[name].append(result)
    given.remove()
    speed = {name: median([kept(run, records) / run.cpu for run in done]) for name, done in runs.items() if done}
    rows = []
    for name, _ in PROGRAMS:
        done = runs[name]
        if not done:
            rows.append([f"replay {title}", name, "", "failed", "", "", "", "", "", ""])
            continue
        rights = sorted({r.right for r in done})
        rows.append([
            f"replay {title}", name, "", millions(speed[name]),
            ratio(speed[name], speed.get(PROGRAMS[1][0])), ratio(speed[name], speed.get(PROGRAMS[2][0])),
            f"{median([r.wall for r in done]):.1f}", mebibytes(max(r.rss for r in done)),
            f"{median([r.lost for r in done]):,.0f}", " / ".join(rights),
        ])
    return rows
