"""What both comparisons need: inputs with their truth, processes that are measured and always stopped, the table."""

import csv
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
CUSTOMERS, EXPORTERS = 5000, 8
FIRST_AS = 4_200_000_000  # private AS numbers stand for customers in nfacctd
SOCKET_BUFFER = 4 << 20
TICK = os.sysconf("SC_CLK_TCK")

NFACCTD = """\
daemonize: false
plugins: print
networks_file: {networks}
nfacctd_as: file
aggregate: src_as, dst_as, in_iface, out_iface, peer_src_ip, flows
print_output: csv
print_output_file: {output}
print_output_file_append: true
print_history: 5m
print_history_roundoff: m
print_refresh_time: 86400
print_cache_entries: {entries}
plugin_pipe_zmq: true
plugin_pipe_zmq_profile: large
{source}
"""


def say(text):
    print(f"== {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """A measurement that gave no number; the others go on."""


class Measured:
    """A command under measure.py."""

    def __init__(self, bench, command, log):
        self.result = bench.path(f"used-{len(bench.started)}.json")
        self.log = log
        self.began = time.monotonic()
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(HERE, "measure.py"), self.result, *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )
        self.command = os.path.basename(command[0])
        bench.started.append(self)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def wait_for(self, word, seconds):
        """Waits until its log has `word`."""
        until = time.monotonic() + seconds
        while word not in self.said():
            if self.process.poll() is not None or time.monotonic() > until:
                raise Failed(f"{self.command} did not say `{word}`:\n{self.said()[-2000:]}")
            time.sleep(0.02)

    def ticks(self):
        """Processor time so far of the command and its descendants, in clock ticks."""
        total, waiting = 0, [self.process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as children:
                    waiting += [int(child) for child in children.read().split()]
            except OSError:
                continue
            if pid != self.process.pid:
                total += int(fields[11]) + int(fields[12])
        return total

    def wait_idle(self, seconds, quiet=2.0):
        """Waits until it has used no processor time for `quiet` seconds; when it last did."""
        until = time.monotonic() + seconds
        last, since = self.ticks(), time.monotonic()
        while time.monotonic() - since < quiet:
            if time.monotonic() > until or self.process.poll() is not None:
                raise Failed(f"{self.command} came to no end:\n{self.said()[-2000:]}")
            time.sleep(0.1)
            now = self.ticks()
            if now > last:
                last, since = now, time.monotonic()
        return since

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self, seconds):
        """Waits for its end: processor seconds, octets of memory."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.command} did not end:\n{self.said()[-2000:]}") from None
        with open(self.result, encoding="utf-8") as result:
            used = json.load(result)
        if used["status"] != 0:
            raise Failed(f"{self.command} failed ({used['status']}):\n{self.said()[-2000:]}")
        return used["cpu"], used["rss"]


class Input:
    """A generated capture, and what must come of it."""

    def __init__(self, bench, protocol, records, span):
        self.protocol, self.records, self.span = protocol, records, span
        self.capture = bench.path(f"{protocol}-{records}-{span}.pcap")
        self.truth = self.capture + ".csv"
        say(f"generating {records:,} {protocol} records over {span} s")
        bench.fluxoscope_says(
            "generate", "--proto", protocol, "--records", str(records), "--span", str(span), "--sampling", "1",
            "--out", self.capture, "--truth", self.truth, seconds=60 + records / 100_000,
        )
        self.customers = octets_by_customer(self.truth)
        self.octets = sum(self.customers.values())

    def remove(self):
        os.unlink(self.capture)
        os.unlink(self.truth)


def octets_by_customer(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        name, octets = header.index("customer"), header.index("bytes")
        sums = Counter()
        for row in rows:
            sums[row[name]] += int(row[octets])
    return sums


class Bench:
    """Where files are, what is running, and how often to measure."""

    def __init__(self, directory, fluxoscope, runs):
        self.directory, self.fluxoscope, self.runs = directory, fluxoscope, runs
        self.started = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def stop_all(self):
        for started in self.started:
            if started.process.poll() is None:
                started.stop()
                try:
                    started.process.wait(10)
                except subprocess.TimeoutExpired:
                    started.process.kill()
                    started.process.wait()

    def write_configuration(self, is_dual=True):
        """8 exporters, 16 links, 5000 customers; the same for nfacctd. Customers have an IPv4 and an IPv6 prefix each, or
        (not `is_dual`) by turns one of these."""
        text = ['[sampling]\ngrace = "0s"\n']
        for n in range(1, EXPORTERS + 1):
            text.append(f'[[exporter]]\nname = "r{n}"\naddress = "127.0.1.{n}"\n')
            for link in range(2):
                text.append(f'[[link]]\nname = "l{n}-{link}"\n')
                text.append(f'interfaces = [{{ exporter = "r{n}", ifindex = {10 + link} }}]\n')
        networks = []
        for n in range(CUSTOMERS):
            prefixes = [f"10.{n // 256}.{n % 256}.0/24", f"2001:db8:{n:x}::/48"]
            if not is_dual:
                del prefixes[n % 2]
            text.append(f'[[customer]]\nname = "c{n}"\nprefixes = {json.dumps(prefixes)}\n')
            networks += [f"{FIRST_AS + n},{prefix}\n" for prefix in prefixes]
        self.network = "".join(text)
        with open(self.path("fluxoscope.toml"), "w", encoding="utf-8") as out:
            out.write(self.network)
        with open(self.path("networks"), "w", encoding="utf-8") as out:
            out.writelines(networks)

    def fluxoscope_command(self, *arguments):
        places = ["--config", self.path("fluxoscope.toml"), "--state-dir", self.path("state")]
        return [self.fluxoscope, *places, *arguments]

    def fluxoscope_says(self, *arguments, seconds=120):
        done = subprocess.run(
            self.fluxoscope_command(*arguments), capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode != 0:
            raise Failed(f"fluxoscope {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def fluxoscope_customers(self):
        """Octets by customer in the ledger."""
        path = self.path("usage.csv")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self.fluxoscope_says("usage", "--by", "customer", "--format", "csv"))
        return octets_by_customer(path)

    def nfacctd(self, source, entries=99_991):
        """`entries`: of its cache, ten times as many rows fit. It is filled at the start, so more than needed costs."""
        output = self.path("nfacctd.csv")
        if os.path.exists(output):
            os.unlink(output)
        with open(self.path("nfacctd.conf"), "w", encoding="utf-8") as out:
            out.write(NFACCTD.format(networks=self.path("networks"), output=output, entries=entries, source=source))
        return Measured(self, ["nfacctd", "-f", self.path("nfacctd.conf")], self.path("nfacctd.log"))

    def nfacctd_result(self):
        """Records, and octets by customer, that nfacctd printed."""
        records, customers = 0, Counter()
        with open(self.path("nfacctd.csv"), encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            header = next(rows)
            at = [header.index(name) for name in ("SRC_AS", "DST_AS", "FLOWS", "BYTES")]
            for row in rows:
                source, destination, flows, octets = (int(row[n]) for n in at)
                records += flows
                if source and destination:
                    name = "local"
                elif source or destination:
                    name = f"c{(source or destination) - FIRST_AS}"
                else:
                    name = ""  # unassigned or through: AS numbers cannot tell
                customers[name] += octets
        return records, customers


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def send(bench, capture, port, rate, passes=1, now=False):
    """Sends a capture; what send.py says of it."""
    command = [sys.executable, os.path.join(HERE, "send.py"), capture.capture, str(port), "--rate", str(rate)]
    command += ["--passes", str(passes)] + (["--now"] if now else [])
    seconds = 120 + 4 * passes * capture.records / rate
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise Failed(f"send.py: {done.stderr.strip()}")
    # The sender counts what headers do: in NetFlow v9, templates too.
    return {**json.loads(done.stdout), "records": capture.records * passes}


def kernel_drops(port):
    """Datagrams that the kernel dropped for want of room in the buffers of the sockets at a port."""
    drops = 0
    with open("/proc/net/udp", encoding="utf-8") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == port:
                drops += int(fields[-1])
    return drops


def median(numbers):
    return statistics.median(numbers)


def millions(number):
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def mebibytes(octets):
    return f"{octets / (1 << 20):.0f} MiB"


def ratio(one, other):
    return f"{one / other:.2f}" if one and other else "-"


def totals(octets, customers, expected):
    """Whether totals are right, in words. `customers`: octets by name, where the program tells them."""
    parts = []
    wrong = octets - expected.octets
    parts.append("octets exact" if wrong == 0 else f"octets {100 * wrong / expected.octets:+.3f} %")
    if customers is not None:
        known = [name for name in expected.customers if name[1:].isdigit()]
        right = sum(customers.get(name) == expected.customers[name] for name in known)
        parts.append(f"{right} of {len(known)} customers right")
    return ", ".join(parts)
