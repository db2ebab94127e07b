#!/usr/bin/env python3
"""Step time on a slow network: a coordinator and four workers, each in a network namespace with a link of 1 Gbit/s.

    cargo build --release && sudo benches/slow_network.py [--workers 8] [--rate 1e8] [--delay 5] [--loss 0.1]

Takes Linux, root and iproute2, and no Python packages. For each network, in f32 and in bf16: the median step time with links
as fast as the machine (C) and with the slow ones (S); what share of the transfer hides behind compute, (C + T - S) / T, where
T = T_in + T_out is the time that the bytes of a step take on the fullest link, one way after the other; whose link that is and how
full it is each way; the bytes of a step on the fullest link without coding, as a multiple of the gradient's (P), from the run on fast
links, and what share of them is left with the job's coding; and what share of all processors the processes take. With `--python PYTHON`, a Python that has torch, DDP over gloo runs in the workers' hosts as well, on the
same network, batch and links, after each measurement of Lockstep. With `--coordinator-beside` the coordinator runs on the host of the first
worker, which it shares memory with, so that there are as many hosts as workers.
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
IS_BESIDE = False
# Of every link; what each host sends is late by so much, and this share of it is lost.
BITS_PER_SECOND = 1e9
DELAY_MILLISECONDS = 0.0
LOSS_PERCENT = 0.0
# Packets on their way on a link with delay: 1 Gbit/s over 100 ms.
DELAYED_PACKETS_MAX = 10_000
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
SAMPLE_SECONDS = 0.05
REPEATS = 5
RUN_SECONDS_MAX = 600


def worker_hosts():
    """The host of each worker; the coordinator's is the first."""
    return range(0 if IS_BESIDE else 1, WORKERS if IS_BESIDE else 1 + WORKERS)


def hosts_count():
    return worker_hosts().stop


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


class Hosts:
    """Namespaces on one bridge, the bridge in a namespace of its own; the first is the coordinator's."""

    def __init__(self):
        tag = f"lockstep-{os.getpid()}"
        self.switch = f"{tag}-switch"
        self.names = [f"{tag}-{host}" for host in range(hosts_count())]

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
        """Shapes what each host sends and what it is sent, and delays and loses what it sends; or does so no more."""
        burst = max(BURST_BYTES_MIN, (bits_per_second or 0) / 8 * TICK_SECONDS)
        shaper = ["tbf", "rate", f"{bits_per_second or 0:.0f}bit", "burst", f"{burst:.0f}b", "latency", LATENCY]
        ends = [(name, "eth0") for name in self.names]
        ends += [(self.switch, f"port{host}") for host in range(hosts_count())]
        emulator = ["netem", "limit", f"{DELAYED_PACKETS_MAX}", "delay", f"{DELAY_MILLISECONDS}ms", "loss", f"{LOSS_PERCENT}%"]
        is_emulated = DELAY_MILLISECONDS > 0 or LOSS_PERCENT > 0
        for name, device in ends:
            changes = [["del", "dev", device, "root"]]
            if bits_per_second and is_emulated and name != self.switch:
                changes = [["add", "dev", device, "root", "handle", "1:", *emulator], ["add", "dev", device, "parent", "1:1", *shaper]]
            elif bits_per_second:
                changes = [["add", "dev", device, "root", *shaper]]
            for change in changes:
                subprocess.run(["tc", "-n", name, "qdisc", *change], check=True)

    def start(self, host, arguments, folder, **options):
        return subprocess.Popen(["ip", "netns", "exec", self.names[host], *map(str, arguments)], cwd=folder, **options)

    def bytes_out_and_in(self):
        """What the link of each host has carried: a row a host, out and in."""
        shown = subprocess.run(
            ["ip", "-n", self.switch, "-json", "-statistics", "link", "show"], check=True, capture_output=True
        )
        ports = {link["ifname"].split("@")[0]: link["stats64"] for link in json.loads(shown.stdout)}
        links = [ports[f"port{host}"] for host in range(hosts_count())]
        # What a host sends is what the bridge's end receives.
        return [(link["rx"]["bytes"], link["tx"]["bytes"]) for link in links]


def write_job(folder, widths, batch, steps, precision, coding="auto", homes=None):
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
        + (f'homes = "{homes}"\n' if homes else "")
    )


class Sampler:
    """Watches all links and processes beside a run."""

    def __init__(self, hosts):
        self.hosts, self.samples, self.ended = hosts, [], threading.Event()
        self.processes = []
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            self.samples.append((time.time(), self.hosts.bytes_out_and_in(), sum(map(cpu_seconds, list(self.processes)))))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def between(self, begin, end):
        """Between two times: bytes a second out and in of each host, and the share of all processors."""
        inside = [sample for sample in self.samples if begin <= sample[0] <= end]
        first, last = inside[0], inside[-1]
        seconds = last[0] - first[0]
        rates = [[(after - before) / seconds for before, after in zip(*ways)] for ways in zip(first[1], last[1])]
        return rates, (last[2] - first[2]) / seconds / os.cpu_count()


def cpu_seconds(process):
    """What a process has taken so far; nothing once it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Measured:
    """Of a run: seconds of the median step; of the fullest link the host (0 is the coordinator's) and the bytes of a step out and in;
    the share of all processors."""

    def __init__(self, step, mean, rates, processors):
        self.step, self.processors = step, processors
        self.host = max(range(len(rates)), key=lambda host: max(rates[host]))
        self.step_bytes = [rate * mean for rate in rates[self.host]]


def train(hosts, widths, batch, steps, precision, is_encrypted=False, coding="auto", homes=None):
    """What was measured of a run."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as processes, Sampler(hosts) as sampler:
        folder = Path(folder)
        write_job(folder, widths, batch, steps, precision, coding, homes)

        def start(host, *arguments):
            process = hosts.start(host, [PROGRAM, "--quiet", *arguments], folder, stdout=subprocess.DEVNULL)
            processes.callback(process.wait)
            processes.callback(process.kill)
            sampler.processes.append(process.pid)
            return process

        address = f"{hosts.address(0)}:7070"
        openly = [] if is_encrypted else ["--insecure"]
        coordinator = start(
            0, "coordinator", "job.toml", "--out", "run", "--listen", address, *openly, "--workers-start", WORKERS
        )
        joining = ["--join-file", "run/join"] if is_encrypted else ["--coordinator", address, "--insecure"]
        for host in worker_hosts():
            apart = [] if IS_BESIDE and host == 0 else ["--no-shared-memory"]
            start(host, "worker", *joining, "--threads", 1, *apart)
        if coordinator.wait(RUN_SECONDS_MAX) != 0:
            raise SystemExit("slow_network.py: the coordinator failed; its message is above")
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        ended = (folder / "run/metrics.jsonl").stat().st_mtime
    commits = [line["seconds"] for line in lines if line["kind"] == "step"]
    commits = commits[len(commits) // WARM_UP :]
    step = statistics.median(after - before for before, after in zip(commits, commits[1:]))
    mean = (commits[-1] - commits[0]) / (len(commits) - 1)
    # The last line is written right after the last step.
    rates, processors = sampler.between(ended - (commits[-1] - commits[0]), ended - max(mean, 2 * SAMPLE_SECONDS))
    return Measured(step, mean, rates, processors)


def train_peer(hosts, python, widths, batch, steps):
    """Seconds of DDP's step."""
    options = ["--widths", ",".join(map(str, widths)), "--batch", batch, "--steps", max(steps // REPEATS, 1)]
    options += ["--repeats", REPEATS, "--processes", WORKERS, "--address", f"{hosts.address(worker_hosts().start)}:7071"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "eth0"}
    with contextlib.ExitStack() as processes:
        ranks = []
        for rank, host in enumerate(worker_hosts()):
            command = [python, PEER, *options, "--rank", rank]
            ranks.append(hosts.start(host, command, ROOT, env=environment, stdout=subprocess.PIPE, text=True))
            processes.callback(ranks[-1].wait)
            processes.callback(ranks[-1].kill)
        result = ranks[0].communicate(timeout=RUN_SECONDS_MAX)[0]
        if any(rank.wait(RUN_SECONDS_MAX) != 0 for rank in ranks):
            raise SystemExit("slow_network.py: PyTorch failed; its message is above")
    return statistics.median(json.loads(result)["step_seconds"])


def report(hosts, case, precision, homes):
    widths, batch, steps = case
    fast = train(hosts, widths, batch, steps, precision, coding="off", homes=homes)
    hosts.limit(BITS_PER_SECOND)
    try:
        slow = train(hosts, widths, batch, steps, precision, homes=homes)
    finally:
        hosts.limit(None)
    bytes_per_second = BITS_PER_SECOND / 8
    transfer = sum(slow.step_bytes) / bytes_per_second
    hidden = (fast.step + transfer - slow.step) / transfer
    raw, coded = max(fast.step_bytes), max(slow.step_bytes)
    out, into = (bytes_ / slow.step / bytes_per_second for bytes_ in slow.step_bytes)
    print(
        f"{name(widths):<20} {batch:>5} {precision:>9} {homes or '':>6} {fast.step * 1e3:>10.2f} {slow.step * 1e3:>10.2f} {slow.host:>5} "
        f"{slow.step_bytes[0] / 1e6:>9.3f} {slow.step_bytes[1] / 1e6:>9.3f} {hidden:>8.0%} {out:>8.0%} {into:>8.0%} "
        f"{raw / gradient_bytes(widths, precision):>6.2f} {coded / raw:>6.0%} {slow.processors:>5.0%}",
        flush=True,
    )


def report_peer(hosts, python, case):
    hosts.limit(BITS_PER_SECOND)
    try:
        seconds = train_peer(hosts, python, *case)
    finally:
        hosts.limit(None)
    print(f"{name(case[0]):<20} {case[1]:>5} {'DDP':>9} {'':>6} {'':>10} {seconds * 1e3:>10.2f}", flush=True)


def gradient_bytes(widths, precision):
    parameters = sum((inputs + 1) * units for inputs, units in zip(widths, widths[1:]))
    return parameters * (4 if precision == "f32" else 2)


def name(widths):
    return "-".join(map(str, widths))


def main():
    global WORKERS, IS_BESIDE, BITS_PER_SECOND, DELAY_MILLISECONDS, LOSS_PERCENT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python with torch: measure DDP over gloo, too")
    parser.add_argument("--only", default="", metavar="TEXT", help="networks and batches with this in their names")
    parser.add_argument("--workers", type=int, default=WORKERS, help="hosts with a worker [default: %(default)s]")
    parser.add_argument("--coordinator-beside", action="store_true", help="the coordinator runs on the first worker's host")
    parser.add_argument("--rate", type=float, default=BITS_PER_SECOND, help="bits a second of each link [default: %(default)g]")
    parser.add_argument("--delay", type=float, default=DELAY_MILLISECONDS, help="milliseconds each way [default: %(default)g]")
    parser.add_argument("--loss", type=float, default=LOSS_PERCENT, help="percent of packets that are lost [default: %(default)g]")
    parser.add_argument("--homes", action="append", help="value of the job's cluster.homes; several are measured by turns")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("slow_network.py: not root, which network namespaces take; run it with sudo")
    if not PROGRAM.exists():
        raise SystemExit(f"slow_network.py: found no {PROGRAM}; cargo build --release")
    if not 1 <= options.workers <= 250 or options.rate <= 0 or options.delay < 0 or not 0 <= options.loss < 100:
        raise SystemExit("slow_network.py: wanted 1 to 250 workers, a rate above 0, a delay of 0 or more, a loss from 0 to under 100")
    WORKERS, IS_BESIDE, BITS_PER_SECOND = options.workers, options.coordinator_beside, options.rate
    DELAY_MILLISECONDS, LOSS_PERCENT = options.delay, options.loss
    print(
        f"{'network':<20} {'batch':>5} {'precision':>9} {'homes':>6} {'fast ms':>10} {'slow ms':>10} {'link':>5} {'MB out':>9} {'MB in':>9} "
        f"{'hidden':>8} {'out full':>8} {'in full':>8} {'raw P':>6} {'coded':>6} {'CPU':>5}"
    )
    with Hosts() as hosts:
        for case in CASES:
            if options.only in f"{name(case[0])}@{case[1]}":
                for precision in ("f32", "bf16"):
                    for homes in options.homes or [None]:
                        report(hosts, case, precision, homes)
                    if options.python:
                        report_peer(hosts, options.python, case)


if __name__ == "__main__":
    main()
