"""A full routing table: memory and time of a start, of a replay, and of reloads while flows come in.

A million IPv4 and 200 000 IPv6 prefixes of 10 000 customers, 200 exporters, 400 links. Each reload adds a customer, so
that each one makes another version of the configuration.
"""

import json
import random
import subprocess
import threading
import time

from common import Failed, Input, Measured, free_port, mebibytes, millions, say, send, totals
from replay import empty

PREFIXES_V4, PREFIXES_V6, CUSTOMERS, EXPORTERS, LINKS_EACH = 1_000_000, 200_000, 10_000, 200, 2
RECORDS, SPAN = 2_000_000, 600  # of the capture
RATE, RELOADS = 500_000, 5  # records a second meanwhile


def address(exporter):
    return f"127.0.{1 + exporter // 250}.{1 + exporter % 250}"


def network():
    """The configuration's text."""
    draw = random.Random(1)
    # Distinct ones, in the order in which they were drawn.
    v4 = list(dict.fromkeys(draw.randrange(1 << 16, 224 << 16) for _ in range(PREFIXES_V4 * 11 // 10)))[:PREFIXES_V4]
    text = ['[sampling]\ngrace = "0s"\n']
    for n in range(EXPORTERS):
        text.append(f'[[exporter]]\nname = "r{n}"\naddress = "{address(n)}"\n')
        for link in range(LINKS_EACH):
            text.append(f'[[link]]\nname = "l{n}-{link}"\n')
            text.append(f'interfaces = [{{ exporter = "r{n}", ifindex = {10 + link} }}]\n')
    for n in range(CUSTOMERS):
        prefixes = [f"{at >> 16}.{at >> 8 & 255}.{at & 255}.0/24" for at in v4[n::CUSTOMERS]]
        prefixes += [f"2001:{0xdb0 + (at >> 16):x}:{at & 0xffff:x}::/48" for at in range(n, PREFIXES_V6, CUSTOMERS)]
        text.append(f'[[customer]]\nname = "c{n}"\nprefixes = {json.dumps(prefixes)}\n')
    return "".join(text)


def resident(pid):
    """Octets in memory now, and the most there ever were."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


class Daemon:
    def __init__(self, bench, text):
        self.bench, self.text, self.port = bench, text, free_port()
        empty(bench.path("state"))
        self.configure("")
        self.command = bench.fluxoscope_command()
        self.start()

    def configure(self, more):
        with open(self.bench.path("fluxoscope.toml"), "w", encoding="utf-8") as out:
            out.write(f'[receive]\nlisten = ["127.0.0.1:{self.port}"]\nsocket_buffer = "4MiB"\n')
            out.write(self.text + more)

    def start(self):
        """Starts; how many seconds it took to listen."""
        began = time.monotonic()
        self.run = Measured(self.bench, [*self.command, "run"], self.bench.path("large.log"))
        self.run.wait_for("listening on", 120)
        self.took = time.monotonic() - began
        measuring = self.run.process.pid
        with open(f"/proc/{measuring}/task/{measuring}/children", encoding="utf-8") as children:
            self.pid = int(children.read().split()[0])

    def ask(self, *what):
        done = subprocess.run([*self.command, "ctl", *what], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise Failed(f"ctl {what[0]}: {done.stderr.strip()}")
        return done.stdout

    def stop(self):
        self.run.stop()
        self.run.end(120)


def reload_under_load(daemon, given, rows):
    """Reloads while flows come in; what was sent."""
    sent = []
    passes = max(1, RATE * 60 // RECORDS)
    thread = threading.Thread(
        target=lambda: sent.append(send(daemon.bench, given, daemon.port, RATE, passes, now=True))
    )
    thread.start()
    time.sleep(5)
    for n in range(RELOADS):
        daemon.configure("".join(f'[[customer]]\nname = "new{k}"\nprefixes = ["240.0.{k}.0/24"]\n' for k in range(n + 1)))
        began = time.monotonic()
        daemon.ask("reload")
        took = time.monotonic() - began
        time.sleep(1)
        now, most = resident(daemon.pid)
        rows.append([f"reload {n + 1} of {RELOADS}", f"{took:.1f}", mebibytes(now), mebibytes(most), ""])
    thread.join()
    if not sent:
        raise Failed("the sender failed")
    return sent[0], passes


def compare(bench):
    """One table."""
    text = network()
    daemon = Daemon(bench, text)
    rows = [["start", f"{daemon.took:.1f}", *map(mebibytes, resident(daemon.pid)), ""]]
    given = Input(bench, "v5", RECORDS, SPAN)
    try:
        sent, passes = reload_under_load(daemon, given, rows)
        daemon.ask("flush")
        status = json.loads(daemon.ask("status"))
        lost = sent["records"] - sum(processor["metered_records"] for processor in status["processors"])
        daemon.stop()
        given.octets *= passes
        octets = sum(bench.fluxoscope_customers().values())
        rows[-1][-1] = f"{millions(RATE)}/s meanwhile, lost {lost}, {totals(octets, None, given)}"
        given.octets //= passes
        daemon.start()
        rows.append([f"start with {RELOADS + 1} versions", f"{daemon.took:.1f}", *map(mebibytes, resident(daemon.pid)), ""])
        daemon.stop()
        empty(bench.path("state"))
        run = Measured(bench, bench.fluxoscope_command("replay", given.capture), bench.path("replay.log"))
        cpu, rss = run.end(120)
        octets = sum(bench.fluxoscope_customers().values())
        rows.append([
            f"replay of {RECORDS:,} records", f"{cpu:.1f} of the processor", "", mebibytes(rss), totals(octets, None, given)
        ])
    finally:
        given.remove()
        if daemon.run.process.poll() is None:
            daemon.stop()
    say("the full routing table is done")
    return [(["a full routing table", "seconds", "resident", "at most", ""], rows)]
