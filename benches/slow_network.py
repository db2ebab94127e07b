#!/usr/bin/env python3
"""Step time on a slow network: a coordinator and four workers, each in a network namespace with a link of 1 Gbit/s.

    cargo build --release && sudo benches/slow_network.py

Takes Linux, root and iproute2, and no Python packages. For each network, in f32 and in bf16: the median step time with links
as fast as the machine (C) and with the slow ones (S); what share of the transfer hides behind compute, (C + T - S) / T, where
T = T_in + T_out is the time that the bytes of a step take on the coordinator's link, one way after the other; and how full
that link is each way. With `--python PYTHON`, a Python that has torch, DDP over gloo runs in the four hosts as well, on the same
network, batch and links.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/lockstep"
# There once `examples/mnist/fetch.sh` was run. What is made here instead says nothing of real gradients.
MNIST = ROOT / "examples/mnist/data"
PEER = ROOT / "benches/peers/pytorch_ddp.py"

WORKERS = 4
BITS_PER_SECOND = 1e9
BYTES_PER_SECOND = BITS_PER_SECOND / 8
# A token bucket a little longer than a segment of the virtual cable, and than what passes between two ticks of the system's
# clock; a queue as long as switches have.
BURST_BYTES_MIN = 256 << 10
TICK_SECONDS = 1 / 500
LATENCY = "50ms"

BATCHES = 8
# Widths, batch, steps.
CASES = [([13, 10, 1], 10, 2000), ([784, 512, 512, 10], 256, 160), ([784, 2048, 2048, 2048, 10], 256, 16)]
# Steps at the beginning that do not count, as a share: one in so many.
WARM_UP = 10
SAMPLE_SECONDS = 0.02
REPEATS = 5
RUN_SECONDS_MAX = 600


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


class Hosts:
    """Namespaces on one bridge, the bridge in a namespace of its own; the first is the coordinator's."""

    def __init__(self):
        tag = f"lockstep-{os.getpid()}"
        self.switch = f"{tag}-switch"
        self.names = [f"{tag}-{host}" for host in range(1 + WORKERS)]

    def __enter__(self):
        try:
            ip("netns", "add", self.switch)
            ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.switch, "link", "set", "bridge", "up")
            for host, name in enumerate(self.names):
                ip("netns", "add", name)
                ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{host}", "netns", self.switch)
                ip("-n", self.switch, "link", "set", f"port{host}", "master", "bridge", "up")
                ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in [*self.names, self.switch]:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def address(host):
        return f"10.231.8.{1 + host}"

    def limit(self, bits_per_second):
        """Shapes what each host sends and what it is sent, or does so no more."""
        burst = max(BURST_BYTES_MIN, (bits_per_second or 0) / 8 * TICK_SECONDS)
        shaper = ["tbf", "rate", f"{bits_per_second or 0:.0f}bit", "burst", f"{burst:.0f}b", "latency", LATENCY]
        ends = [(name, "eth0") for name in self.names]
        ends += [(self.switch, f"port{host}") for host in range(1 + WORKERS)]
        for name, device in ends:
            change = ["add", "dev", device, "root", *shaper] if bits_per_second else ["del", "dev", device, "root"]
            subprocess.run(["tc", "-n", name, "qdisc", *change], check=True)

    def start(self, host, arguments, folder, **options):
        return subprocess.Popen(["ip", "netns", "exec", self.names[host], *map(str, arguments)], cwd=folder, **options)

    def bytes_out_and_in(self):
        """What the coordinator's link has carried."""
        shown = subprocess.run(
            ["ip", "-n", self.names[0], "-json", "-statistics", "link", "show", "eth0"], check=True, capture_output=True
        )
        link = json.loads(shown.stdout)[0]["stats64"]
        return link["tx"]["bytes"], link["rx"]["bytes"]


def write_job(folder, widths, batch, steps, precision, coding):
    inputs, outputs = widths[0], widths[-1]
    rows = batch * BATCHES
    pixels = bytes((at // inputs * 31 + at % inputs * 17) % 97 for at in range(rows * inputs))
    labels = bytes(row % max(outputs, 2) for row in range(rows))
    if inputs == 784 and outputs == 10 and MNIST.exists():
        pixels = (MNIST / "train-images-idx3-ubyte").read_bytes()[16 : 16 + rows * inputs]
        labels = (MNIST / "train-labels-idx1-ubyte").read_bytes()[8 : 8 + rows]
    for name, dimensions, values in [("images", (rows, inputs), pixels), ("labels", (rows,), labels)]:
        header = bytes([0, 0, 8, len(dimensions)]) + b"".join(size.to_bytes(4, "big") for size in dimensions)
        (folder / name).write_bytes(header + values)
    hidden = "".join(f'  {{ type = "dense", units = {units}, activation = "relu" }},\n' for units in widths[1:-1])
    loss, activation = ("mse", "linear") if outputs == 1 else ("cross_entropy", "softmax")
    (folder / "job.toml").write_text(
        f"""[data]
train = {{ images = "images", labels = "labels" }}
scale = {{ divide = 97 }}
[model]
loss = "{loss}"
layers = [
{hidden}  {{ type = "dense", units = {outputs}, activation = "{activation}" }},
]
[train]
optimizer = "adam"
epochs = {-(-steps // BATCHES)}
batch_size = {batch}
precision = "{precision}"
[cluster]
coding = "{coding}"
"""
    )


class Sampler:
    """Watches the coordinator's link beside a run."""

    def __init__(self, hosts):
        self.hosts, self.samples, self.ended = hosts, [], threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            self.samples.append((time.time(), *self.hosts.bytes_out_and_in()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def rates(self, begin, end):
        """Bytes a second, out and in, between two times."""
        inside = [sample for sample in self.samples if begin <= sample[0] <= end]
        first, last = inside[0], inside[-1]
        return [(last[way] - first[way]) / (last[0] - first[0]) for way in (1, 2)]


def train(hosts, widths, batch, steps, precision, is_encrypted=False, coding="auto"):
    """Seconds of the median step, and the bytes of a step out of the coordinator and into it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as processes, Sampler(hosts) as sampler:
        folder = Path(folder)
        write_job(folder, widths, batch, steps, precision, coding)

        def start(host, *arguments):
            process = hosts.start(host, [PROGRAM, "--quiet", *arguments], folder, stdout=subprocess.DEVNULL)
            processes.callback(process.wait)
            processes.callback(process.kill)
            return process

        address = f"{hosts.address(0)}:7070"
        openly = [] if is_encrypted else ["--insecure"]
        coordinator = start(
            0, "coordinator", "job.toml", "--out", "run", "--listen", address, *openly, "--workers-start", WORKERS
        )
        joining = ["--join-file", "run/join"] if is_encrypted else ["--coordinator", address, "--insecure"]
        for host in range(1, 1 + WORKERS):
            start(host, "worker", *joining, "--threads", 1, "--no-shared-memory")
        if coordinator.wait(RUN_SECONDS_MAX) != 0:
            raise SystemExit("slow_network.py: the coordinator failed; its message is above")
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        ended = (folder / "run/metrics.jsonl").stat().st_mtime
    commits = [line["seconds"] for line in lines if line["kind"] == "step"]
    commits = commits[len(commits) // WARM_UP :]
    step = statistics.median(after - before for before, after in zip(commits, commits[1:]))
    mean = (commits[-1] - commits[0]) / (len(commits) - 1)
    # The last line is written right after the last step.
    rates = sampler.rates(ended - (commits[-1] - commits[0]), ended - max(mean, 2 * SAMPLE_SECONDS))
    return step, [rate * mean for rate in rates]


def train_peer(hosts, python, widths, batch, steps):
    """Seconds of DDP's step."""
    options = ["--widths", ",".join(map(str, widths)), "--batch", batch, "--steps", max(steps // REPEATS, 1)]
    options += ["--repeats", REPEATS, "--processes", WORKERS, "--address", f"{hosts.address(1)}:7071"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "eth0"}
    with contextlib.ExitStack() as processes:
        ranks = []
        for rank in range(WORKERS):
            command = [python, PEER, *options, "--rank", rank]
            ranks.append(hosts.start(1 + rank, command, ROOT, env=environment, stdout=subprocess.PIPE, text=True))
            processes.callback(ranks[-1].wait)
            processes.callback(ranks[-1].kill)
        result = ranks[0].communicate(timeout=RUN_SECONDS_MAX)[0]
        if any(rank.wait(RUN_SECONDS_MAX) != 0 for rank in ranks):
            raise SystemExit("slow_network.py: PyTorch failed; its message is above")
    return statistics.median(json.loads(result)["step_seconds"])


def report(hosts, case, precision):
    widths, batch, steps = case
    fast, _ = train(hosts, widths, batch, steps, precision)
    hosts.limit(BITS_PER_SECOND)
    try:
        slow, step_bytes = train(hosts, widths, batch, steps, precision)
    finally:
        hosts.limit(None)
    transfer = sum(step_bytes) / BYTES_PER_SECOND
    hidden = (fast + transfer - slow) / transfer
    out, into = (bytes_ / slow / BYTES_PER_SECOND for bytes_ in step_bytes)
    print(
        f"{name(widths):<20} {batch:>5} {precision:>9} {fast * 1e3:>10.2f} {slow * 1e3:>10.2f} "
        f"{step_bytes[0] / 1e6:>9.3f} {step_bytes[1] / 1e6:>9.3f} {hidden:>8.0%} {out:>8.0%} {into:>8.0%}",
        flush=True,
    )


def report_peer(hosts, python, case):
    hosts.limit(BITS_PER_SECOND)
    try:
        seconds = train_peer(hosts, python, *case)
    finally:
        hosts.limit(None)
    print(f"{name(case[0]):<20} {case[1]:>5} {'DDP':>9} {'':>10} {seconds * 1e3:>10.2f}", flush=True)


def name(widths):
    return "-".join(map(str, widths))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python with torch: measure DDP over gloo, too")
    parser.add_argument("--only", default="", metavar="TEXT", help="networks and batches with this in their names")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("slow_network.py: not root, which network namespaces take; run it with sudo")
    if not PROGRAM.exists():
        raise SystemExit(f"slow_network.py: found no {PROGRAM}; cargo build --release")
    print(
        f"{'network':<20} {'batch':>5} {'precision':>9} {'fast ms':>10} {'slow ms':>10} {'MB out':>9} {'MB in':>9} "
        f"{'hidden':>8} {'out full':>8} {'in full':>8}"
    )
    with Hosts() as hosts:
        for case in CASES:
            if options.only in f"{name(case[0])}@{case[1]}":
                for precision in ("f32", "bf16"):
                    report(hosts, case, precision)
                if options.python:
                    report_peer(hosts, options.python, case)


if __name__ == "__main__":
    main()
