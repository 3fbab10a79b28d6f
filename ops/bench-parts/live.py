"""The live comparison: the greatest rate of NetFlow over loopback at which a receiver loses nothing.

The sender shares the machine with the receiver. The rate is doubled until records are lost, then the gap is halved
twice. A rate that loses is tried once more, because whatever else runs on the machine can cost a datagram. At what was
found it runs as often as everything else (`--runs`); where most of these runs lose, it does so an eighth slower.
"""

import json
import os
import shutil
import signal
import subprocess

from common import (
    SOCKET_BUFFER, Failed, Input, Measured, free_port, kernel_drops, mebibytes, median, millions, ratio, say, send,
    totals,
)
from replay import empty, store_totals

RECORDS = 2_000_000  # of the capture, which is sent again and again with new sequence numbers
SPAN = 2  # seconds: what it takes at a rate that matters, so that clocks are right
RATE_FIRST, RATE_LAST = 500_000, 16_000_000


class Got:
    """What a receiver made of it."""

    def __init__(self, records, cpu, rss, right):
        self.records, self.cpu, self.rss, self.right = records, cpu, rss, right


class Run:
    """One rate: records a second and seconds of sending, records lost, and what the receiver made of the rest."""

    def __init__(self, sent, got):
        self.rate = sent["records"] / sent["seconds"]
        self.seconds = sent["seconds"]
        self.lost = sent["records"] - got.records
        self.got = got


class Fluxoscope:
    name = "fluxoscope run, journal and ledger"

    def start(self, bench):
        self.port = free_port()
        empty(bench.path("state"))
        config = bench.path("live.toml")
        with open(config, "w", encoding="utf-8") as out:
            out.write(f'[receive]\nlisten = ["127.0.0.1:{self.port}"]\nsocket_buffer = "4MiB"\n{bench.network}')
        self.command = [bench.fluxoscope, "--config", config, "--state-dir", bench.path("state")]
        self.run = Measured(bench, [*self.command, "run"], bench.path("run.log"))
        self.run.wait_for("listening on", 30)

    def finish(self, bench, sent, expected):
        subprocess.run([*self.command, "ctl", "flush"], capture_output=True, timeout=120, check=True)
        status = subprocess.run([*self.command, "ctl", "status"], capture_output=True, timeout=60, check=True)
        status = json.loads(status.stdout)
        records = sum(processor["metered_records"] for processor in status["processors"])
        self.run.stop()
        cpu, rss = self.run.end(60)
        customers = bench.fluxoscope_customers()
        return Got(records, cpu, rss, totals(sum(customers.values()), customers, expected))


class Nfacctd:
    name = "nfacctd, printed at the end"

    def start(self, bench):
        self.port = free_port()
        self.run = bench.nfacctd(
            f"nfacctd_ip: 127.0.0.1\nnfacctd_port: {self.port}\nnfacctd_pipe_size: {SOCKET_BUFFER}"
        )
        self.run.wait_for("waiting for NetFlow", 30)

    def finish(self, bench, sent, expected):
        self.run.wait_idle(300)
        self.run.stop(signal.SIGINT)
        cpu, rss = self.run.end(120)
        records, customers = bench.nfacctd_result()
        return Got(records, cpu, rss, totals(sum(customers.values()), customers, expected))


class Nfcapd:
    name = "nfcapd, stored only"

    def start(self, bench):
        self.port = free_port()
        empty(bench.path("store"))
        command = ["nfcapd", "-b", "127.0.0.1", "-p", str(self.port), "-w", bench.path("store")]
        self.run = Measured(bench, [*command, "-B", str(SOCKET_BUFFER), "-t", "86400"], bench.path("nfcapd.log"))
        self.run.wait_for("Startup", 10)

    def finish(self, bench, sent, expected):
        self.run.wait_idle(60, 0.5)
        self.run.stop()
        cpu, rss = self.run.end(60)
        flows, octets = store_totals(bench.path("store"))
        return Got(flows, cpu, rss, totals(octets, None, expected))


class Expected:
    """What several passes of a capture come to."""

    def __init__(self, given, passes):
        self.octets = given.octets * passes
        self.customers = {name: octets * passes for name, octets in given.customers.items()}


def attempt(bench, receiver, given, rate, seconds):
    """Sends at one rate."""
    passes = max(1, round(rate * seconds / given.records))
    receiver.start(bench)
    try:
        sent = send(bench, given, receiver.port, rate, passes, now=True)
        drops = kernel_drops(receiver.port)
        run = Run(sent, receiver.finish(bench, sent, Expected(given, passes)))
    finally:
        if receiver.run.process.poll() is None:
            receiver.run.stop()
            receiver.run.process.wait(60)
    say(f"live {given.protocol} {receiver.name}: {millions(rate)}/s asked, {millions(run.rate)}/s sent, lost {run.lost} "
        f"(the socket {drops} datagrams), {run.got.cpu:.1f} CPU s, {mebibytes(run.got.rss)}, {run.got.right}")
    return run


def greatest(bench, receiver, given, seconds):
    """The greatest rate that was without loss in one of two attempts; whether the sender was the limit."""
    best, limited = 0, False

    def passes(rate):
        nonlocal best, limited
        for _ in range(2):
            run = attempt(bench, receiver, given, rate, seconds)
            limited = run.rate < 0.97 * rate
            if run.lost == 0:
                best = max(best, rate)
                return True
        return False

    rate = RATE_FIRST
    while rate <= RATE_LAST and passes(rate) and not limited:
        rate *= 2
    if limited and best:
        return best, True
    good, bad = (rate / 2, rate) if best else (0, rate)
    for _ in range(2):
        middle = (good + bad) / 2
        if passes(middle):
            good = middle
        else:
            bad = middle
    return best, False


def settled(bench, receiver, given, seconds):
    """Runs at the greatest rate that most of them get through without loss; whether the sender was the limit."""
    rate, limited = greatest(bench, receiver, given, seconds)
    while rate >= RATE_FIRST / 8:
        runs = [attempt(bench, receiver, given, rate, seconds) for _ in range(bench.runs)]
        if median([run.lost for run in runs]) == 0:
            return runs, limited
        rate, limited = rate * 7 / 8, False
    return None, False


def compare(bench, protocol, seconds):
    """Rows of the table."""
    with open("/proc/sys/net/core/rmem_max", encoding="utf-8") as most:
        allowed = int(most.read())
    if allowed < SOCKET_BUFFER:
        say(f"net.core.rmem_max is {allowed}: no socket gets the 4 MiB that it asks for")
    given = Input(bench, protocol, RECORDS, SPAN)
    found = {}
    for receiver in (Fluxoscope(), Nfacctd(), Nfcapd()):
        try:
            found[type(receiver)] = settled(bench, receiver, given, seconds)
        except (Failed, subprocess.SubprocessError, OSError) as error:
            say(f"live {receiver.name}: {error}")
        shutil.rmtree(bench.path("state"), ignore_errors=True)
    given.remove()
    if os.path.isdir(bench.path("store")):
        shutil.rmtree(bench.path("store"))
    rate_of = {kind: median([run.rate for run in runs]) for kind, (runs, _) in found.items() if runs}
    rows = []
    for kind in (Fluxoscope, Nfacctd, Nfcapd):
        if kind not in rate_of:
            failed = "loses at every rate" if kind in found else "failed"
            rows.append([f"live {protocol}", kind.name, failed, "", "", "", "", "", "", ""])
            continue
        runs, limited = found[kind]
        shown = millions(rate_of[kind]) + (" (the sender's limit)" if limited else "")
        rows.append([
            f"live {protocol}", kind.name, shown, millions(median([run.got.records / run.got.cpu for run in runs])),
            ratio(rate_of[kind], rate_of.get(Nfacctd)), ratio(rate_of[kind], rate_of.get(Nfcapd)),
            f"{median([run.seconds for run in runs]):.1f}", mebibytes(max(run.got.rss for run in runs)),
            ", ".join(f"{run.lost:,}" for run in runs), " / ".join(sorted({run.got.right for run in runs})),
        ])
    return rows
