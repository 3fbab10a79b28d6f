"""The agent beside net-snmp's snmpd: GET and GETBULK(50), v2c and v3, and how long a GET takes while flows come in.

Requests are those of net-snmp's own tools, recorded on their way to the agent and sent again and again by a small C
program (ask.c): nothing about SNMP is written here, and encryption is paid for by the agent alone. What counts is
requests a second of the agent's processor time: both programs share the machine with who asks.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import threading
import time

from common import HERE, Failed, Input, Measured, free_port, median, millions, ratio, say, send
from replay import empty

ROWS = 1000
REQUESTS = 24  # different ones of a kind
WINDOW = 8  # requests on their way at a time
INTERVAL = 1000  # microseconds between two requests whose answers are timed
INGEST_SPAN, INGEST_RECORDS = 2, 2_000_000
USER, AUTHENTICATION, PRIVACY = "bench", "the first passphrase", "the second passphrase"

SYSTEM = "1.3.6.1.2.1.1"
SCALARS = [f"{SYSTEM}.{number}.0" for number in (1, 2, 4, 5, 6)]  # sysDescr to sysLocation, without the time
FAMILIES = "1.3.6.1.6.3.16.1.5.2.1.4"  # vacmViewTreeFamilyType
CUSTOMERS = "1.3.6.1.4.1.32473.2055.1.5.1.3"  # fluxCustomerInOctets
CONNECTIONS = "1.3.6.1.2.1.6.19.1.7"  # tcpConnectionState

V2C = ["-v2c", "-c", "see"]
V3 = ["-v3", "-u", USER, "-l", "authPriv", "-a", "SHA-256", "-A", AUTHENTICATION, "-x", "AES", "-X", PRIVACY]
TOOL = ["-On", "-r", "1", "-t", "5"]


def view_names():
    """Names of two characters, so that 50 rows fit into a datagram."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return [one + other for one in letters for other in letters][:ROWS]


class Recorder:
    """Passes what a tool and an agent say to each other on, and keeps it."""

    def __init__(self, port):
        self.port = port
        self.inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inside.bind(("127.0.0.1", 0))
        self.peer = "127.0.0.1:%d" % self.inside.getsockname()[1]
        self.outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outside.connect(("127.0.0.1", port))
        self.pairs, self.tool, self.request = [], None, None
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            for ready in select.select([self.inside, self.outside], [], [], 0.2)[0]:
                if ready is self.inside:
                    self.request, self.tool = self.inside.recvfrom(65535)
                    self.outside.send(self.request)
                else:
                    answer = self.outside.recv(65535)
                    self.pairs.append((self.request, answer))
                    self.inside.sendto(answer, self.tool)

    def record(self, environment, program, arguments):
        """The last request of a tool with its answer, and how many objects that answer had."""
        self.pairs = []
        done = subprocess.run(
            [program, *TOOL, *arguments[0], self.peer, *arguments[1]],
            capture_output=True, text=True, env=environment, timeout=30, check=False,
        )
        lines = [line for line in done.stdout.splitlines() if " = " in line and "No Such" not in line]
        if done.returncode != 0 or not lines or not self.pairs:
            raise Failed(f"{program}: {done.stdout[-300:]}{done.stderr[-300:]}")
        return (*self.pairs[-1], len(lines))

    def close(self):
        self.over = True
        self.thread.join()
        self.inside.close()
        self.outside.close()


class Asked:
    """Requests of one kind, to be sent again."""

    def __init__(self, pairs):
        self.text = b"".join(len(request).to_bytes(2, "big") + request for request, _, _ in pairs)
        # Counters grow and times pass, so lengths may differ by some octets; an error is far shorter.
        self.shortest = min(len(answer) for _, answer, _ in pairs) - 16
        self.objects = sum(objects for _, _, objects in pairs) / len(pairs)


def ask(bench, port, asked, seconds, window=WINDOW, interval=0):
    """What ask.c says."""
    command = [bench.path("ask"), str(port), str(seconds), str(window), str(interval), str(asked.shortest)]
    done = subprocess.run(command, input=asked.text, capture_output=True, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise Failed(f"ask: {done.stderr.decode()}")
    said = json.loads(done.stdout)
    if said["wrong"] or said["lost"] > said["answers"] / 1000:
        raise Failed(f"ask: {said}")
    return said


class Fluxoscope:
    name = "fluxoscope run"

    def __init__(self, views):
        self.views = views

    def start(self, bench):
        self.port, self.flows = free_port(), free_port()
        empty(bench.path("state"))
        config, secrets = bench.path("agent.toml"), bench.path("secrets")
        text = [
            f'[receive]\nlisten = ["127.0.0.1:{self.flows}"]\nsocket_buffer = "4MiB"\n',
            f'[snmp]\nlisten = "127.0.0.1:{self.port}"\ncommunities = ["see"]\nname = "host.example.net"\n',
            'contact = "nobody@example.net"\nlocation = "somewhere"\n',
        ]
        if self.views:
            text.append('community_view = "all"\n[[snmp.view]]\nname = "all"\ninclude = ["1.3"]\n')
            text.append(f'[[snmp.user]]\nname = "{USER}"\nview = "all"\n')
            text += [f'[[snmp.view]]\nname = "{name}"\ninclude = ["1.3.6"]\n' for name in view_names()]
        with open(config, "w", encoding="utf-8") as out:
            out.write("".join(text) + bench.network)
        with open(secrets, "w", encoding="utf-8") as out:
            out.write(f"{AUTHENTICATION}\n{PRIVACY}\n")
        self.command = [bench.fluxoscope, "--config", config, "--state-dir", bench.path("state")]
        add = ["snmp", "user", "add", USER, "--auth", "SHA-256", "--priv", "AES-128", "--secrets", secrets]
        done = subprocess.run([*self.command, *add], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Failed(f"fluxoscope snmp user add: {done.stderr}")
        self.run = Measured(bench, [*self.command, "run"], bench.path("agent.log"))
        self.run.wait_for("listening on", 30)

    def stop(self):
        self.run.stop()
        return self.run.end(60)


class Snmpd:
    name = "snmpd"

    def __init__(self, views):
        self.views = views

    def start(self, bench):
        self.port = free_port()
        directory = bench.path("net-snmp-agent")
        empty(directory)
        os.makedirs(directory, exist_ok=True)
        text = [
            f'createUser {USER} SHA-256 "{AUTHENTICATION}" AES "{PRIVACY}"\nrouser {USER} priv\nrocommunity see\n',
            "sysName host.example.net\nsysContact nobody@example.net\nsysLocation somewhere\n",
        ]
        if self.views:
            text += [f"view {name} included .1.3.6\n" for name in view_names()]
        path = os.path.join(directory, "bench.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(text)
        # The connections of which it shows a table.
        self.holder = [] if self.views else connections(ROWS // 2)
        environment = os.environ | {"SNMP_PERSISTENT_DIR": directory, "MIBS": ""}
        command = ["env", f"SNMP_PERSISTENT_DIR={directory}", "MIBS=", "snmpd", "-f", "-Lo", "-C", "-c", path]
        command.append(f"udp:127.0.0.1:{self.port}")
        self.run = Measured(bench, command, bench.path("snmpd.log"))
        for _ in range(100):
            done = subprocess.run(
                ["snmpget", "-On", "-r", "0", "-t", "1", *V2C, f"127.0.0.1:{self.port}", SCALARS[0]],
                capture_output=True, env=environment, check=False,
            )
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise Failed(f"snmpd does not answer: {self.run.said()}")

    def stop(self):
        for one in self.holder:
            one.close()
        self.run.stop()
        self.run.process.wait(30)


def connections(count):
    """Connections on loopback, of which both ends are ours."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=count)
    held = [listener]
    for _ in range(count):
        held.append(socket.create_connection(listener.getsockname()))
        held.append(listener.accept()[0])
    return held


def names_below(environment, peer, column):
    """The instances of a column."""
    done = subprocess.run(
        ["snmpbulkwalk", *TOOL, *V2C, peer, column],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )
    names = [line.split(" = ")[0] for line in done.stdout.splitlines() if line.startswith("." + column)]
    if len(names) < ROWS:
        raise Failed(f"{column} has {len(names)} rows: {done.stdout[-200:]}{done.stderr[-300:]}")
    return names


# snmpd walks a list for each row of vacmViewTreeFamilyTable. Its table of TCP connections is of the kind that it is
# quickest with, sorted and searched by halving; there are no same rows for that.
# What is asked: how it is called, whether views are configured, the column that each program is asked for.
KINDS = [
    ("system", False, None, None),
    ("vacmViewTreeFamilyTable, the same 1000 rows", True, FAMILIES, FAMILIES),
    ("a table of its own: 5000 customers, 1000 TCP connections", False, CUSTOMERS, CONNECTIONS),
]


def prepare(bench, agent, column, secured):
    """The requests of a kind: GETs, and GETBULKs where there is a table."""
    environment = os.environ | {"MIBS": "", "SNMP_PERSISTENT_DIR": bench.path("net-snmp-tools")}
    who = V3 if secured else V2C
    recorder = Recorder(agent.port)
    try:
        if column is None:
            return Asked([recorder.record(environment, "snmpget", (who, [name])) for name in SCALARS]), None
        names = names_below(environment, f"127.0.0.1:{agent.port}", column)
        some = [names[n * (ROWS - 60) // REQUESTS] for n in range(REQUESTS)]
        gets = [recorder.record(environment, "snmpget", (who, [name])) for name in some]
        bulks = [recorder.record(environment, "snmpbulkget", (["-Cr50", *who], [name])) for name in some]
        return Asked(gets), Asked(bulks)
    finally:
        recorder.close()


def throughput(bench, agent, asked, seconds):
    """Requests a second, and a second of processor time."""
    ask(bench, agent.port, asked, 0.3)
    before = agent.run.ticks()
    said = ask(bench, agent.port, asked, seconds)
    used = (agent.run.ticks() - before) / os.sysconf("SC_CLK_TCK")
    return said["answers"] / said["seconds"], said["answers"] / max(used, 0.01)


def measure(bench, kind, program, seconds, found):
    name, views, own, theirs = kind
    agent = program(views)
    try:
        agent.start(bench)
        for secured in (False, True):
            gets, bulks = prepare(bench, agent, own if program is Fluxoscope else theirs, secured)
            for what, asked in (("GET", gets), ("GETBULK(50)", bulks)):
                if asked is None:
                    continue
                got = throughput(bench, agent, asked, seconds)
                key = (name, what, "v3 authPriv" if secured else "v2c", program)
                found.setdefault(key, []).append((*got, asked.objects))
                say(f"{program.name}: {what} {key[2]}, {name}: {got[0]:,.0f}/s, {got[1]:,.0f} a CPU second, "
                    f"{asked.objects:.0f} objects each")
    finally:
        if getattr(agent, "run", None) is not None and agent.run.process.poll() is None:
            agent.stop()


def latency(bench, rate, seconds):
    """How long a GET takes while flows come in at this rate (0: none), in microseconds; and what was lost."""
    agent = Fluxoscope(False)
    given = Input(bench, "v5", INGEST_RECORDS, INGEST_SPAN) if rate else None
    try:
        agent.start(bench)
        gets, _ = prepare(bench, agent, CUSTOMERS, False)
        sender, sent = None, {}
        if rate:
            passes = max(1, round(rate * (seconds + 2) / given.records))
            sender = threading.Thread(
                target=lambda: sent.update(send(bench, given, agent.flows, rate, passes, now=True))
            )
            sender.start()
            wait_for_flows(agent)
        said = ask(bench, agent.port, gets, seconds, window=1, interval=INTERVAL)
        if sender is None:
            return said, None
        busy = sender.is_alive()
        sender.join()
        subprocess.run([*agent.command, "ctl", "flush"], capture_output=True, timeout=120, check=True)
        status = subprocess.run([*agent.command, "ctl", "status"], capture_output=True, timeout=60, check=True)
        metered = sum(one["metered_records"] for one in json.loads(status.stdout)["processors"])
        if not busy:
            raise Failed("the sender ended before the questions")
        return said, (sent["records"] / sent["seconds"], sent["records"] - metered)
    finally:
        if given is not None:
            given.remove()
        if getattr(agent, "run", None) is not None and agent.run.process.poll() is None:
            agent.stop()


def latencies(bench, rate, seconds):
    """A row: medians of as many runs as all else has, the most that was lost in one, and how far runs are apart."""
    runs = []
    for number in range(bench.runs):
        what = f"a GET while {rate:,.0f} records a second come in, {number + 1}/{bench.runs}"
        try:
            runs.append(latency(bench, rate, seconds))
            say(f"{what}: {runs[-1]}")
        except (Failed, subprocess.SubprocessError, OSError) as error:
            say(f"{what}: {error}")
    if not runs:
        return None
    flows = [ingest for _, ingest in runs if ingest is not None]
    sent = millions(median([achieved for achieved, _ in flows])) + "/s" if flows else "none"
    lost = max((missing for _, missing in flows), default=0)
    at = [f"{median([said[name] for said, _ in runs]):,.0f}" for name in ("p50", "p99", "p999")]
    each = sorted(said["p99"] for said, _ in runs)
    spread = f"{each[0]:,.0f} to {each[-1]:,.0f}"
    return [sent, str(lost), *at, spread, f"{len(runs)} of {bench.runs}"]


def wait_for_flows(agent):
    """Until the sender, which first makes all headers, has begun."""
    begun = agent.run.ticks()
    until = time.monotonic() + 120
    while agent.run.ticks() - begun < 20:
        if time.monotonic() > until:
            raise Failed("no flows came")
        time.sleep(0.05)


def compare(bench, seconds, rates):
    """Two tables."""
    subprocess.run(
        ["cc", "-O2", "-Wall", "-o", bench.path("ask"), os.path.join(HERE, "ask.c")], check=True, timeout=120
    )
    os.makedirs(bench.path("net-snmp-tools"), exist_ok=True)
    found = {}
    for kind in KINDS:
        for _ in range(bench.runs):
            for program in (Fluxoscope, Snmpd):
                try:
                    measure(bench, kind, program, seconds, found)
                except (Failed, subprocess.SubprocessError, OSError) as error:
                    say(f"{program.name}, {kind[0]}: {error}")
    rows = []
    for key in list(found):
        if key[3] is not Fluxoscope:
            continue
        own, theirs = (found.get((*key[:3], program)) for program in (Fluxoscope, Snmpd))
        if theirs is None or {run[2] for run in own} != {run[2] for run in theirs}:
            say(f"{key[1]} {key[2]}, {key[0]}: the answers cannot be compared")
            continue
        (per_second, of_processor), (their_second, their_processor) = (
            [median([run[n] for run in runs]) for n in (0, 1)] for runs in (own, theirs)
        )
        rows.append([
            key[1], key[2], key[0], f"{of_processor:,.0f}", f"{their_processor:,.0f}",
            ratio(of_processor, their_processor), f"{per_second:,.0f}", f"{their_second:,.0f}",
        ])
    times = [row for rate in [0, *rates] if (row := latencies(bench, rate, 2 * seconds))]
    shutil.rmtree(bench.path("state"), ignore_errors=True)
    return [
        (["", "", "of", "fluxoscope, a CPU second", "snmpd, a CPU second", "ratio",
          "fluxoscope, a second", "snmpd, a second"], rows),
        (["flows coming in", "lost at most", "half of the GETs within (µs)", "99 %", "99.9 %", "99 % of each run", "runs"],
         times),
    ]
