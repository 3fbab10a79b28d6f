#!/usr/bin/env python3
"""Writes the committed corpus: small inputs that reach every part of a decoder, made from the published layouts.

    python3 fuzz/make_corpus.py

Inputs of the datagram targets are datagrams with two octets of length before each; see bodies.rs.
"""

import pathlib
import struct
import zlib

ROOT = pathlib.Path(__file__).parent / "corpus"
EXPORT = 1_767_225_600  # 2026-01-01T00:00:00Z
UPTIME = 1_000_000


def pack(layout, *values):
    return struct.pack(">" + layout, *values)


def words(*values):
    return pack(f"{len(values)}I", *values)


def put(target, name, octets):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(octets)


def framed(*datagrams):
    return b"".join(pack("H", len(d)) + d for d in datagrams)


# NetFlow v1, v5, v7, v8.

def head(version, count, sequence=None, rest=b""):
    out = pack("HHIII", version, count, UPTIME, EXPORT, 0)
    return out + (b"" if sequence is None else words(sequence)) + rest


def v1_record(packets, octets):
    return words(0x0A000001, 0x0A000002, 0x0A0000FE) + pack("HH", 3, 4) + words(
        packets, octets, UPTIME - 5000, UPTIME - 1000) + pack("HHHBBB", 1234, 443, 0, 6, 0xB8, 0x1B) + bytes(7)


def v5_record(packets, octets):
    return words(0x0A000001, 0x0A000002, 0x0A0000FE) + pack("HH", 3, 4) + words(
        packets, octets, UPTIME - 5000, UPTIME - 1000) + pack(
        "HHBBBBHHBBH", 1234, 443, 0, 0x1B, 6, 0xB8, 65001, 65002, 24, 16, 0)


def v5(sequence, sampling, *records):
    return head(5, len(records), sequence, pack("HH", 1, sampling)) + b"".join(records)


def v7(sequence, *records):
    return head(7, len(records), sequence, words(0)) + b"".join(r + words(0x0A0000FE) for r in records)


# Octets of a record by aggregation scheme, 1 to 14.
V8_SCHEMES = {1: 28, 2: 28, 3: 32, 4: 32, 5: 40, 6: 32, 7: 40, 8: 44, 9: 32, 10: 32, 11: 32, 12: 32, 13: 40, 14: 40}


def v8(sequence, scheme, count=2):
    # The first five words differ by scheme; small numbers everywhere are plausible counters and times.
    record = words(*(UPTIME - 1000 if n in (3, 4) else 100 + n for n in range(V8_SCHEMES[scheme] // 4)))
    return head(8, count, sequence, pack("HBBI", 1, scheme, 2, 0)) + record * count


put("netflow1", "two-datagrams", framed(
    head(1, 2) + v1_record(1, 50) + v1_record(2, 60), head(1, 1) + v1_record(9, 1 << 31)))
put("netflow1", "count-beyond", framed(head(1, 9) + v1_record(1, 50)))
put("netflow5", "loss-and-duplicate", framed(
    v5(0, 100, v5_record(1, 10), v5_record(2, 20)), v5(5, 100, v5_record(3, 30)), v5(5, 100, v5_record(3, 30)),
    v5(2, 100, v5_record(4, 40))))
put("netflow5", "sampled-header", framed(v5(0, 0x4000 | 1000, v5_record(1, 1500)), v5(1, 0, v5_record(1, 0xFFFFFFFF))))
put("netflow7", "bypassed", framed(v7(0, v5_record(1, 70)), v7(2, v5_record(2, 80), v5_record(0, 0))))
for scheme in V8_SCHEMES:
    put("netflow8", f"scheme-{scheme}", framed(v8(0, scheme), v8(3, scheme, 1)))

# NetFlow v9 and IPFIX.


def sets(*all_sets):
    return b"".join(pack("HH", number, len(body) + 4) + body for number, body in all_sets)


def fields(*specifiers):
    out = b""
    for element, length in specifiers:
        enterprise, number = element >> 16, element & 0xFFFF
        out += pack("HH", number | (0x8000 if enterprise else 0), length)
        out += words(enterprise) if enterprise else b""
    return out


def template(number, *specifiers):
    return pack("HH", number, len(specifiers)) + fields(*specifiers)


def options_template(number, scopes, *specifiers):
    return pack("HHH", number, len(specifiers), scopes) + fields(*specifiers)


def options_template9(number, scopes, options):
    return pack("HHH", number, 4 * len(scopes), 4 * len(options)) + fields(*scopes) + fields(*options)


def v9(sequence, *all_sets):
    return pack("HHIIII", 9, len(all_sets), UPTIME, EXPORT, sequence, 1) + sets(*all_sets)


def ipfix(sequence, *all_sets, domain=1):
    body = sets(*all_sets)
    return pack("HHIII", 10, len(body) + 16, EXPORT, sequence, domain) + body


REVERSE = 29305 << 16
NINE = [(8, 4), (12, 4), (1, 4), (2, 4), (22, 4), (21, 4), (48, 1)]


def nine(n):
    return words(n, 2, n, 1, UPTIME - 9, UPTIME - 5) + bytes([3])


put("netflow9", "template-then-data", framed(v9(0, (0, template(256, *NINE)), (256, nine(1) + nine(2)))))
put("netflow9", "data-waits", framed(v9(0, (256, nine(1))), v9(1, (0, template(256, *NINE)))))
put("netflow9", "sampler-options", framed(
    v9(0, (1, options_template9(257, [(1, 4)], [(48, 1), (49, 1), (50, 4)])), (257, words(0) + bytes([3, 2]) + words(100))),
    v9(1, (0, template(256, *NINE)), (256, nine(7)))))
put("netflow9", "domain-options", framed(
    v9(0, (1, options_template9(257, [(1, 4)], [(34, 4), (35, 1)])), (257, words(0, 50) + bytes([1]))),
    v9(1, (0, template(256, (1, 8), (2, 8), (4, 1))), (256, pack("QQB", 9000, 9, 17)))))
put("netflow9", "redefined", framed(
    v9(0, (0, template(256, *NINE)), (256, nine(1))), v9(1, (0, template(256, (1, 4), (2, 4))), (256, words(1000, 10)))))

TOTALS = [(8, 4), (12, 4), (85, 8), (86, 8), (REVERSE | 85, 4)]
VARIED = [(8, 4), (96, 65535), (1, 4), (2, 4), (152, 8), (153, 8), (302, 4)]


def total(n):
    return pack("IIQQI", 1, 2, n, n // 100, 7)


def varied(n):
    return words(n) + b"\x03dns" + pack("IIQQI", n, 1, 0, 0, 5)


put("ipfix", "running-totals", framed(
    ipfix(0, (300, total(1000))), ipfix(1, (2, template(300, *TOTALS)), (300, total(2500))), ipfix(2, (300, total(900)))))
put("ipfix", "overtaken-totals", framed(ipfix(0, (2, template(300, (148, 8), (85, 8)))), *(
    ipfix(n, (300, pack("QQ", n % 7, 1000 - n))) for n in range(24))))
put("ipfix", "variable-length", framed(ipfix(0, (2, template(301, *VARIED)), (301, varied(1) + varied(2)))))
put("ipfix", "biflow", framed(ipfix(0, (2, template(302, (8, 4), (12, 4), (231, 8), (232, 8), (298, 4), (299, 4))),
                                    (302, pack("IIQQII", 1, 2, 100, 200, 1, 2)))))
put("ipfix", "reverse-information", framed(ipfix(0, (2, template(302, (1, 8), (2, 8), (REVERSE | 1, 8), (REVERSE | 2, 8))),
                                                 (302, pack("QQQQ", 100, 1, 200, 2)))))
put("ipfix", "samplers", framed(
    ipfix(0, (3, options_template(310, 1, (302, 4), (304, 1), (305, 4), (306, 4))), (310, words(5) + bytes([1]) + words(1, 9))),
    ipfix(1, (2, template(301, *VARIED)), (301, varied(2)))))
put("ipfix", "withdrawn", framed(
    ipfix(0, (2, template(301, *VARIED))), ipfix(0, (2, pack("HH", 301, 0)), (301, varied(3))), ipfix(0, (2, pack("HH", 2, 0)))))
put("ipfix", "domains", framed(*(ipfix(0, (2, template(300, (1, 4))), (300, words(5)), domain=n) for n in range(6))))
put("ipfix", "empty-record", framed(ipfix(0, (2, template(300, (1, 0), (2, 0))), (300, words(1)))))
put("ipfix", "wide-template", framed(ipfix(0, (2, template(300, *[(210, 1)] * 40)), (300, bytes(80)))))

# Messages one behind the other, in a file and over TCP.

THREE = [ipfix(0, (2, template(300, (8, 4), (1, 4)))), ipfix(0, (300, words(1, 500))), ipfix(1, domain=2)]
for target in ("message_file", "tcp"):
    put(target, "messages", b"".join(THREE))
    put(target, "cut", b"".join(THREE)[:-5])
    put(target, "something-else-behind", b"".join(THREE[:2]) + b"GET / HTTP/1.1\r\n\r\n")
put("tcp", "no-message", v9(0, (0, template(256, (1, 4)))))

# Frames, alone and in samples.

UDP = pack("HHHH", 1234, 53, 20, 0) + bytes(12)
IPV4 = pack("BBHHHBBH", 0x45, 0xB8, 40, 1, 0, 64, 17, 0) + words(0x0A000001, 0x0A000002) + UDP
IPV6 = pack("IHBB", 0x60000000, 20 + 8, 0, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + bytes([17, 0]) + bytes(6) + UDP
MACS = bytes(range(12))
FRAMES = {
    "ethernet-ipv4": (1, MACS + pack("H", 0x0800) + IPV4),
    "ethernet-ipv6": (1, MACS + pack("H", 0x86DD) + IPV6),
    "qinq": (1, MACS + pack("HHHHH", 0x88A8, 100, 0x8100, 200, 0x0800) + IPV4),
    "mpls": (1, MACS + pack("H", 0x8847) + words(0x00010040, 0x00020140) + IPV4),
    "pppoe": (1, MACS + pack("HBBHHH", 0x8864, 0x11, 0, 1, 42, 0x0021) + IPV4),
    "snap": (1, MACS + pack("H", 48) + bytes([0xAA, 0xAA, 3, 0, 0, 0]) + pack("H", 0x0800) + IPV4),
    "ipv4": (11, IPV4),
    "ipv6": (12, IPV6),
    "ppp": (7, bytes([0xFF, 3]) + pack("H", 0x0057) + IPV6),
    "label-stack": (13, words(0x00010040) * 6 + words(0x00020140) + IPV6),
}
for name, (protocol, frame) in FRAMES.items():
    put("frame_section", name, bytes([protocol]) + frame)


def sflow(sequence, *samples, address=words(1, 0xC0000201), sub_agent=0):
    return words(5) + address + words(sub_agent, sequence, 1000 * sequence, len(samples)) + b"".join(samples)


def record(number, body):
    body += bytes(-len(body) % 4)
    return words(number, len(body)) + body


def raw(name, length=1500):
    protocol, frame = FRAMES[name]
    return record(1, words(protocol, length, 4, len(frame)) + frame)


def flow_sample(sequence, *records, expanded=False, rate=100, drops=0):
    if expanded:
        start = words(sequence, 0, 3, rate, sequence * rate, drops, 0, 3, 0, 4, len(records))
    else:
        start = words(sequence, 3, rate, sequence * rate, drops, 3, 4, len(records))
    return record(3 if expanded else 1, start + b"".join(records))


put("sflow", "flow-samples", framed(
    sflow(1, flow_sample(1, raw("ethernet-ipv4")), flow_sample(2, raw("qinq"))),
    sflow(2, flow_sample(3, raw("ethernet-ipv6"), expanded=True))))
put("sflow", "drops", framed(*(sflow(n, flow_sample(n * 4, raw("mpls"), drops=n * 3)) for n in range(1, 8))))
put("sflow", "without-header", framed(sflow(
    1, flow_sample(1, record(3, words(60, 17, 1, 2, 53, 1234, 0, 0))), flow_sample(2, record(2, words(64) + bytes(16))))))
put("sflow", "switch-router-gateway", framed(sflow(1, flow_sample(
    1, raw("ethernet-ipv4"), record(1001, words(100, 0, 200, 0)), record(1002, words(1, 0x0A000009, 24, 16)),
    record(1003, words(1, 0x0A000009, 65000, 65001, 65002, 1, 2, 2, 65003, 65004, 0, 0))))))
put("sflow", "counters-discards-vendor", framed(sflow(
    1, record(2, words(1, 3, 0)), record(5, words(1, 0, 3, 0, 1, 0, 0, 0)), record((4413 << 12) | 1, bytes(12)))))
put("sflow", "agents", framed(*(
    sflow(1, flow_sample(1, raw("ipv4")), address=words(2) + bytes(15) + bytes([n]), sub_agent=n) for n in range(5))))

# Captures.


def udp_frame(payload):
    datagram = pack("HHHH", 4000, 2055, len(payload) + 8, 0) + payload
    return MACS + pack("H", 0x0800) + pack(
        "BBHHHBBH", 0x45, 0, len(datagram) + 20, 1, 0, 64, 17, 0) + words(0x7F000001, 0xC00002FE) + datagram


def fragments(payload):
    datagram = pack("HHHH", 4000, 2055, len(payload) + 8, 0) + payload
    for at in range(0, len(datagram), 16):
        part = datagram[at:at + 16]
        more = 0x2000 if at + 16 < len(datagram) else 0
        yield MACS + pack("H", 0x0800) + pack("BBHHHBBH", 0x45, 0, len(part) + 20, 7, more | at // 8, 64, 17, 0) + words(
            0x7F000001, 0xC00002FE) + part


def pcap(frames, magic=0xA1B2C3D4, order="<"):
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    for n, frame in enumerate(frames):
        out += struct.pack(order + "IIII", EXPORT, n, len(frame), len(frame)) + frame
    return out


SMALL = v5(0, 0, v5_record(1, 10))
put("pcap", "two-datagrams", pcap([udp_frame(SMALL), udp_frame(b"x")]))
put("pcap", "nanoseconds-big-endian", pcap([udp_frame(b"abc")], 0xA1B23C4D, ">"))
put("pcap", "fragments", pcap(fragments(b"0123456789" * 5)))


def block(number, body, order="<"):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", number, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(frames, order="<"):
    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    # One interface, microseconds by default; one with if_tsresol (9) of nanoseconds.
    out += block(1, struct.pack(order + "HHI", 1, 0, 0), order)
    out += block(1, struct.pack(order + "HHIHHBxxxHH", 1, 0, 0, 9, 1, 9, 0, 0), order)
    for n, frame in enumerate(frames):
        time = EXPORT * (10**9 if n % 2 else 10**6)
        packet = struct.pack(order + "IIIII", n % 2, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame)) + frame
        out += block(6, packet, order)
    return out


put("pcapng", "two-interfaces", pcapng([udp_frame(b"abc"), udp_frame(b"defg")]))
put("pcapng", "big-endian", pcapng([udp_frame(b"abc")], ">"))
put("pcapng", "unknown-block", pcapng([]) + block(0x77, b"what?") + block(6, struct.pack("<IIIII", 9, 0, 0, 0, 0)))

# The journal: see the tables in src/journal/segment.rs and src/journal/frame.rs.


def journal(*datagrams):
    start = struct.pack("<Q", 0)
    version = struct.pack("<I", 1)
    out = b"fluxjrnl" + version + struct.pack("<I", zlib.crc32(start)) + start
    at = 0
    for family, address, payload in datagrams:
        body = struct.pack("<qHB", EXPORT * 1000, 4000, family) + address + payload
        length = struct.pack("<I", len(body))
        out += length + struct.pack("<I", zlib.crc32(struct.pack("<Q", at) + length + body)) + body
        at += 8 + len(body)
    return out


put("journal", "both-families", journal((4, bytes([127, 0, 0, 1]), SMALL), (6, bytes(15) + b"\1", b"abc"), (4, bytes(4), b"")))
put("journal", "empty", journal())

# SNMP: BER by hand (X.690, RFC 3416).


def ber(tag, body):
    return bytes([tag, len(body)]) + body


def snmp(version, pdu, *names, community=b"see"):
    bindings = b"".join(ber(0x30, ber(6, name) + ber(5, b"")) for name in names)
    request = ber(2, b"\x12\x34") + ber(2, b"\0") + ber(2, b"\x05" if pdu == 0xA5 else b"\0") + ber(0x30, bindings)
    return ber(0x30, ber(2, bytes([version])) + ber(4, community) + ber(pdu, request))


SYSTEM = bytes([0x2B, 6, 1, 2, 1, 1])
put("snmp", "get", snmp(1, 0xA0, SYSTEM + bytes([3, 0]), SYSTEM + bytes([9, 9])))
put("snmp", "next-v1", snmp(0, 0xA1, SYSTEM))
put("snmp", "bulk", snmp(1, 0xA5, bytes([0x2B, 6, 1]), bytes([0x2B, 6, 1, 4])))
put("snmp", "set", snmp(1, 0xA3, SYSTEM + bytes([5, 0])))
put("snmp", "other-community", snmp(1, 0xA0, SYSTEM, community=b"nobody"))


def v3(pdu, *names, engine=bytes.fromhex("8000007ed905464c5558"), context=None, user=b"look", flags=4, tag=b"", salt=b""):
    """SNMPv3 to the engine of the fuzz target, whose user `look` needs no keys (RFC 3412, 3414)."""
    bindings = b"".join(ber(0x30, ber(6, name) + ber(5, b"")) for name in names)
    request = ber(2, b"\1") + ber(2, b"\0") + ber(2, b"\x05" if pdu == 0xA5 else b"\0") + ber(0x30, bindings)
    scoped = ber(0x30, ber(4, engine if context is None else context) + ber(4, b"") + ber(pdu, request))
    header = ber(0x30, ber(2, b"\1") + ber(2, b"\x05\xdc") + ber(4, bytes([flags])) + ber(2, b"\3"))
    parameters = ber(0x30, ber(4, engine) + ber(2, b"\1") + ber(2, b"\x0a") + ber(4, user) + ber(4, tag) + ber(4, salt))
    return ber(0x30, ber(2, b"\3") + header + ber(4, parameters) + (ber(4, scoped) if flags & 2 else scoped))


put("snmp", "v3", v3(0xA0, engine=b"", user=b""))
put("snmp", "v3-get", v3(0xA0, SYSTEM + bytes([3, 0])))
put("snmp", "v3-bulk-here", v3(0xA5, bytes([0x2B, 6, 1]), context=bytes.fromhex("8000000006")))
put("snmp", "v3-signed", v3(0xA1, SYSTEM, user=b"keys", flags=5, tag=bytes(24)))
put("snmp", "v3-secret", v3(0xA1, SYSTEM, user=b"keys", flags=7, tag=bytes(24), salt=b"saltsalt"))

# Checkpoints: what is no state. Whole ones are made while testing, since they change with their format.
put("checkpoint", "nothing", b"")
put("checkpoint", "head-alone", b"FX\1")
put("checkpoint", "unmarked", bytes([5, 5, 0, 0]))
put("checkpoint", "long-lists", b"FX\1" + b"\xff" * 9 + b"\1" + b"\xff\xff\xff\xff\x0f" * 40)
