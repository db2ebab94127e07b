#!/usr/bin/env python3
"""A run beside thousands of hostile connections: what they cost it.

    cargo build --release && benches/hostile.py

Takes Linux with two processors or more, util-linux and openssl, and no Python packages. By turns, a coordinator with two workers trains undisturbed;
while another process attacks a second coordinator of this machine, that does nothing; and while it attacks the first. The last
processor is the attacker's and that second coordinator's, who have no other; the run has the rest of them, also while it is undisturbed. It makes 10,000 connections from eight addresses: silent ones, half handshakes, prefaces of HTTP/2 byte
by byte, rapid resets, streams without a join, and frames as large as they may be and larger. Towards
the end of the attack a new worker joins. Printed are the speed beside the undisturbed run and beside the one that saw the attack go
elsewhere (whose ratio leaves out what the attacker itself takes of this machine), the coordinator's peak memory, the processor time that a hostile connection takes of the coordinator, how long the new worker took, and whether the weights are the same. The coordinator has a certificate of its own, for no library here knows raw keys.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import slow_network as network

WIDTHS, BATCH = [784, 128, 10], 256
WORKERS = 2
RUN_SECONDS_MAX = 1800
# Whose processors are whose.
CPUS = sorted(os.sched_getaffinity(0))
OURS, THEIRS = CPUS[:-1], CPUS[-1:]
LOOK_SECONDS = 0.05
# Longer than a coordinator lets a stranger be.
HOLD_SECONDS = 20
# When a new worker joins, as a share of the attack.
LATE = 0.9

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END_HEADERS = 4
PATH = b"/lockstep.v1.Cluster/Train"
# Indexed and literal fields of HPACK (RFC 7541): POST, http, the path, an authority, the content type, and `te: trailers`.
FIELDS = b"\x83\x86\x04" + bytes([len(PATH)]) + PATH + b"\x01\x01c\x0f\x10\x10application/grpc\x00\x02te\x08trailers"


def frame(kind, flags, stream, payload=b"", length=None):
    length = len(payload) if length is None else length
    return length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def opening():
    return PREFACE + frame(SETTINGS, 0, 0)


async def silent(_, writer):
    del writer
    await asyncio.sleep(HOLD_SECONDS)


async def half_handshake(_, writer):
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(40))
    await asyncio.sleep(HOLD_SECONDS)


async def slow_preface(_, writer):
    for byte in opening():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.5)


async def rapid_resets(reader, writer):
    writer.write(opening())
    for stream in range(1, 401, 2):
        writer.write(frame(HEADERS, END_HEADERS, stream, FIELDS) + frame(RESET, 0, stream, b"\0\0\0\x08"))
    await writer.drain()
    await reader.read()


async def without_a_join(reader, writer):
    writer.write(opening() + b"".join(frame(HEADERS, END_HEADERS, stream, FIELDS) for stream in range(1, 33, 2)))
    await writer.drain()
    await reader.read()


async def big_frames(reader, writer):
    writer.write(opening() + frame(HEADERS, END_HEADERS, 1, FIELDS))
    for _ in range(3):
        writer.write(frame(DATA, 0, 1, bytes(16384)))
    writer.write(frame(DATA, 0, 1, bytes(16384), length=(1 << 24) - 1))
    await writer.drain()
    await reader.read()


KINDS = [(silent, False), (half_handshake, False), (slow_preface, True), (rapid_resets, True), (without_a_join, True)]
KINDS.append((big_frames, True))


async def connection(number, port, context, ends):
    act, is_encrypted = KINDS[number % len(KINDS)]
    writer = None
    try:
        async with asyncio.timeout(HOLD_SECONDS):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                port,
                ssl=context if is_encrypted else None,
                server_hostname="localhost" if is_encrypted else None,
                local_addr=(f"127.0.0.{2 + number // len(KINDS) % 8}", 0),
            )
            acting = asyncio.ensure_future(act(reader, writer))
            closing = asyncio.ensure_future(closed(reader) if act in (silent, half_handshake, slow_preface) else acting)
            await asyncio.wait({acting, closing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (acting, closing):
                task.cancel()
            await asyncio.gather(acting, closing, return_exceptions=True)
        ends[act.__name__, "ended"] += 1
    except (OSError, ssl.SSLError, TimeoutError) as error:
        ends[act.__name__, type(error).__name__] += 1
    finally:
        if writer is not None:
            writer.transport.abort()


async def closed(reader):
    while await reader.read(1 << 16):
        pass


async def attack(port, connections, seconds):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    ends, tasks, began = collections.Counter(), set(), time.monotonic()
    for number in range(connections):
        task = asyncio.ensure_future(connection(number, port, context, ends))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(max(0.0, began + seconds * (number + 1) / connections - time.monotonic()))
    took = time.monotonic() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"seconds": took, "ends": {" ".join(key): count for key, count in sorted(ends.items())}}))


def make_certificate(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
    openssl("req", *curve, "-keyout", "head.key", "-out", "head.csr", "-subj", "/CN=head")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl("x509", "-req", "-in", "head.csr", *sign, "-out", "head.pem")


class Peak:
    """The most memory that a process has had, and the processor time that it has taken."""

    def __init__(self, process):
        self.process, self.bytes, self.cpu_seconds = process, 0, 0.0
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while self.process.poll() is None:
            with contextlib.suppress(OSError, StopIteration, IndexError):
                fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
                self.cpu_seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
                self.bytes = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
            time.sleep(LOOK_SECONDS)


def train(options, seconds=None, is_target=False):
    """One run; beside an attack that lasts so long, if that is not None, on it or on a coordinator that does nothing."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as processes:
        folder = Path(folder)
        network.write_job(folder, WIDTHS, BATCH, options.steps, "f32")
        make_certificate(folder)

        def start(*arguments, cpus=OURS, **how):
            pinned = ["taskset", "-c", ",".join(map(str, cpus))]
            process = subprocess.Popen([*pinned, *map(str, arguments)], cwd=folder, text=True, **how)
            processes.callback(process.wait)
            processes.callback(process.kill)
            return process

        own = ["--tls-cert", "head.pem", "--tls-key", "head.key"]
        told = []

        def lead(run, cpus=OURS):
            job = ["job.toml", "--out", run, "--listen", "127.0.0.1:0", "--workers-start", WORKERS]
            command = [network.PROGRAM, "--log-format", "json", "coordinator", *job, *own]
            head = start(*command, cpus=cpus, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            reports = iter(head.stderr)
            address = next(report["address"] for report in map(json.loads, reports) if report["event"] == "listening")
            threading.Thread(target=lambda: told.extend(reports), daemon=True).start()
            return head, address.split(":")[1]

        head, port = lead("run")
        peak = Peak(head)
        if seconds is not None and not is_target:
            _, port = lead("other", THEIRS)
        join = [network.PROGRAM, "worker", "--join-file", "run/join", "--tls-ca", "ca.pem", "--threads", 1]
        join.append("--no-shared-memory")
        for _ in range(WORKERS):
            start(*join, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        attacked, joined, cpu_seconds = None, None, None
        if seconds is not None:
            this = [sys.executable, __file__, "--attack", port, "--connections", options.connections, "--seconds", seconds]
            attacker = start(*this, cpus=THEIRS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            time.sleep(LATE * seconds)
            cpu_seconds = peak.cpu_seconds
            began = time.monotonic()
            late = start(*join, "--wait", 30, stderr=subprocess.PIPE)
            joined = next((time.monotonic() - began for line in late.stderr if "joined run" in line), None)
            threading.Thread(target=late.stderr.read, daemon=True).start()
        if head.wait(RUN_SECONDS_MAX) != 0:
            raise SystemExit("hostile.py: the coordinator failed:\n" + "".join(told[-5:]))
        if seconds is not None:
            # What it still had to say found nobody, and is told as such.
            attacked = json.loads(attacker.communicate(timeout=seconds + 60)[0])
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        commits = [line["seconds"] for line in lines if line["kind"] == "step"]
        # Up to where the new worker comes, both runs have the same workers.
        compared = commits if seconds is None else [at for at in commits if at <= commits[0] + LATE * seconds]
        manifest = json.loads((folder / "run/manifest.json").read_text())
        return {
            "steps_per_second": (len(compared) - 1) / (compared[-1] - compared[0]),
            "cpu_a_step": (cpu_seconds or peak.cpu_seconds) / len(compared),
            "steps": len(compared),
            "seconds": commits[-1] - commits[0],
            "bytes": peak.bytes,
            "hash": manifest["weights_blake3"],
            "joined": joined,
            "attacked": attacked,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=12_000, help="steps of a run")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--attack", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.attack:
        asyncio.run(attack(options.attack, options.connections, options.seconds))
        return
    if not OURS:
        raise SystemExit("hostile.py: found 1 processor, wanted 2: one is the attacker's alone")
    if not network.PROGRAM.exists():
        raise SystemExit(f"hostile.py: found no {network.PROGRAM}; cargo build --release")
    turns = []
    for turn in range(options.turns):
        calm = train(options)
        seconds = 0.9 * calm["seconds"]
        turns.append((calm, train(options, seconds), train(options, seconds, is_target=True)))
        print(f"turn {turn + 1}: {line(options, [turns[-1]])}", flush=True)
        print(f"  {turns[-1][2]['attacked']}", flush=True)
    print(f"median: {line(options, turns)}")


def line(options, turns):
    """What so many turns say, each figure the median of theirs."""

    def middle(figure):
        return statistics.median(figure(*turn) for turn in turns)

    beside_calm = middle(lambda calm, _, here: here["steps_per_second"] / calm["steps_per_second"])
    beside_elsewhere = middle(lambda _, elsewhere, here: here["steps_per_second"] / elsewhere["steps_per_second"])
    more = middle(lambda calm, _, here: here["bytes"] - calm["bytes"]) / 2**20
    cpu = middle(lambda _, elsewhere, here: (here["cpu_a_step"] - elsewhere["cpu_a_step"]) * here["steps"])
    joined = middle(lambda _calm, _, here: float("nan") if here["joined"] is None else here["joined"])
    is_same = all(len({run["hash"] for run in turn}) == 1 for turn in turns)
    return (
        f"{middle(lambda calm, *_: calm['steps_per_second']):.1f} steps/s undisturbed; attacked, {beside_calm:.3f} of that, and "
        f"{beside_elsewhere:.3f} of a run beside an attack elsewhere; memory {more:+.1f} MiB; "
        f"{cpu / (LATE * options.connections) * 1e3:.2f} ms of the coordinator's processor time a connection; a new worker in after "
        f"{joined:.2f} s; {'the same weights' if is_same else 'OTHER WEIGHTS'}"
    )


if __name__ == "__main__":
    main()
