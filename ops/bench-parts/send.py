"""Sends the NetFlow datagrams of a generated capture over loopback, at a steady rate and for little processor time.

    send.py CAPTURE PORT --rate RECORDS_A_SECOND [--passes N] [--now]

Each exporter's datagrams leave from its own address, many with one system call. The datagrams lie in memory as they
are in the file; only headers are written anew, so that a second pass goes on with the first one's sequence numbers,
and with `--now` the export times are the present. `fluxoscope generate --send` makes its flows as it sends them, which
takes longer than metering them. Prints as JSON: records, datagrams, and seconds from the first to the last.
"""

import argparse
import ctypes
import json
import mmap
import os
import socket
import struct
import sys
import time

WINDOW = 128  # datagrams between two looks at the clock
SLEEP_MIN = 0.0003  # seconds; shorter waits are left to add up
FRAME = 14 + 20 + 8  # Ethernet, IPv4, UDP: what the generator writes
SOCKET_BUFFER = 4 << 20


class IoVector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr: a message, and how much of it was sent."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(IoVector)), ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("end", ctypes.c_int),
        ("sent", ctypes.c_uint), ("gap", ctypes.c_uint),
    ]


class Exporter:
    """One exporter's datagrams, in order, ready to be sent."""

    def __init__(self, address, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        self.socket.bind((address, 0))
        self.socket.connect(("127.0.0.1", port))
        self.descriptor = self.socket.fileno()
        self.found = []  # place and octets of each datagram
        self.sequence_step = 0  # how far a pass moves the sequence number
        self.next = 0

    def prepare(self, memory, start):
        count = len(self.found)
        self.memory = memory
        self.headers = (ctypes.c_char * (24 * count))()
        self.vectors = (IoVector * (2 * count))()
        self.messages = (Message * count)()
        headers = ctypes.addressof(self.headers)
        for n, (at, octets) in enumerate(self.found):
            own = min(20, octets)  # of v5 and v9 alike, what we write anew lies in the first 20 octets
            self.vectors[2 * n] = IoVector(headers + 24 * n, own)
            self.vectors[2 * n + 1] = IoVector(start + at + own, octets - own)
            message = self.messages[n]
            message.vectors = ctypes.pointer(self.vectors[2 * n])
            message.vector_count = 2

    def headers_of(self, number, shift):
        """The headers of pass `number`, `shift` seconds after what the capture says."""
        made = bytearray(24 * len(self.found))
        step = self.sequence_step * number
        for n, (at, _) in enumerate(self.found):
            into = 24 * n
            made[into:into + 20] = self.memory[at:at + 20]
            sequence = into + (16 if made[into + 1] == 5 else 12)
            moved = (struct.unpack_from("!I", made, sequence)[0] + step) % (1 << 32)
            struct.pack_into("!I", made, sequence, moved)
            struct.pack_into("!I", made, into + 8, struct.unpack_from("!I", made, into + 8)[0] + shift)
        return bytes(made)

    def rewind(self, headers):
        ctypes.memmove(self.headers, headers, len(headers))
        self.next = 0


def capture(path, port):
    """The exporters of a capture, and its datagrams in order: whose, and how many records."""
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    order, exporters = [], {}
    at, end = 24, len(memory)
    while at < end:
        octets = struct.unpack_from("<I", memory, at + 8)[0]
        address = memory[at + 16 + 26:at + 16 + 30]
        exporter = exporters.get(address)
        if exporter is None:
            exporter = exporters[address] = Exporter(socket.inet_ntoa(address), port)
        payload = at + 16 + FRAME
        version, records = struct.unpack_from("!HH", memory, payload)
        exporter.found.append((payload, octets - FRAME))
        exporter.sequence_step += records if version == 5 else 1
        order.append((exporter, records))
        at += 16 + octets
    start = ctypes.addressof((ctypes.c_char * 1).from_buffer(memory))
    for exporter in exporters.values():
        exporter.prepare(memory, start)
    return list(exporters.values()), order


def windows(order):
    """Records of each window, and how many datagrams of which exporter are in it."""
    made = []
    for at in range(0, len(order), WINDOW):
        records, share = 0, {}
        for exporter, count in order[at:at + WINDOW]:
            records += count
            share[exporter] = share.get(exporter, 0) + 1
        made.append((records, list(share.items())))
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("capture")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--now", action="store_true")
    options = parser.parse_args()

    exporters, order = capture(options.capture, options.port)
    plan = windows(order)
    first = struct.unpack_from("!I", exporters[0].memory, exporters[0].found[0][0] + 8)[0]
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    size = ctypes.sizeof(Message)
    # All headers are made before the first datagram leaves: a receiver must not catch up while we compute.
    took = sum(records for records, _ in plan) / options.rate
    shifts = [int(time.time() + 1 + took * n) - first if options.now else 0 for n in range(options.passes)]
    passes = [[exporter.headers_of(n, shift) for exporter in exporters] for n, shift in enumerate(shifts)]
    places = {exporter: ctypes.addressof(exporter.messages) for exporter in exporters}
    sent = 0
    began = time.monotonic()
    for headers in passes:
        for exporter, own in zip(exporters, headers):
            exporter.rewind(own)
        for records, share in plan:
            ahead = sent / options.rate - (time.monotonic() - began)
            if ahead > SLEEP_MIN:
                time.sleep(ahead)
            for exporter, count in share:
                while count:
                    done = sendmmsg(exporter.descriptor, places[exporter] + exporter.next * size, count, 0)
                    if done < 0:
                        # Also where nobody listens any more, which no result can come of.
                        sys.exit("sendmmsg: " + os.strerror(ctypes.get_errno()))
                    exporter.next += done
                    count -= done
            sent += records
    seconds = time.monotonic() - began
    datagrams = len(order) * options.passes
    print(json.dumps({"records": sent, "datagrams": datagrams, "seconds": seconds}))


main()
