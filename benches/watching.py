#!/usr/bin/env python3
"""What watching a run costs: runs of one job by turns, alone and with everything that looks on.

Watched are the status page by a reader of its events, /metrics by a scraper once a second, and the steps by --trace. Prints the time
of a step and the CPU time of all processes of the run, watched over alone: medians over the pairs of turns. With --memory it
prints instead how much memory the processes of one long, watched run hold at some steps.

    python3 benches/watching.py --program target/release/lockstep
    python3 benches/watching.py --memory --steps 1000000
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

JOB = """name = "watching"
[data]
train = "train.csv"
target = "y"
[model]
loss = "mse"
layers = [{{ type = "dense", units = 10, activation = "relu" }}, {{ type = "dense", units = 1 }}]
[train]
optimizer = "adam"
epochs = {epochs}
batch_size = 10
[checkpoint]
every_seconds = 60
"""

ROWS = 404
STEPS_AN_EPOCH = -(-ROWS // 10)


def table(path):
    lines = ["x" + ",x".join(map(str, range(13))) + ",y"]
    for row in range(ROWS):
        cells = [((row * 37 + column * 101) % 997) / 997 for column in range(13)]
        lines.append(",".join(f"{cell:.4f}" for cell in [*cells, sum(cells[:5])]))
    path.write_text("\n".join(lines) + "\n")


def look(page, over):
    """Reads every event of the page, and all metrics once a second."""

    def events():
        try:
            with urllib.request.urlopen(page + "events") as stream:
                while not over.is_set() and stream.readline():
                    pass
        except OSError:
            pass

    threading.Thread(target=events, daemon=True).start()
    while not over.wait(1.0):
        try:
            urllib.request.urlopen(page + "metrics").read()
        except OSError:
            return


class Run:
    def __init__(self, arguments, steps, is_watched, folder):
        self.folder = folder
        (folder / "job.toml").write_text(JOB.format(epochs=-(-steps // STEPS_AN_EPOCH)))
        table(folder / "train.csv")
        command = [arguments.program, "--log-format", "json", "local", "job.toml", "--out", "run"]
        command += ["--workers", str(arguments.workers), "--threads", "1"]
        command += ["--trace", "trace.json"] if is_watched else ["--http", "off"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.over, self.pids = threading.Event(), [self.process.pid]
        threading.Thread(target=self.follow, args=(is_watched,), daemon=True).start()

    def follow(self, is_watched):
        for line in self.process.stderr:
            told = json.loads(line)
            if told.get("event") == "listening" and is_watched:
                threading.Thread(target=look, args=(told["page"], self.over), daemon=True).start()
            if "pid" in told and told["event"] == "worker_joined":
                self.pids.append(told["pid"])

    def end(self):
        if self.process.wait() != 0:
            sys.exit("the run failed")
        self.over.set()

    def step_seconds(self):
        """The mean step after the first tenth, in seconds."""
        steps = [line for line in map(json.loads, (self.folder / "run/metrics.jsonl").open()) if line["kind"] == "step"]
        first = steps[len(steps) // 10]
        return (steps[-1]["seconds"] - first["seconds"]) / (steps[-1]["step"] - first["step"])


def measured(arguments, is_watched):
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = Run(arguments, arguments.steps, is_watched, pathlib.Path(folder))
        run.end()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return run.step_seconds(), cpu


def median(values):
    return sorted(values)[len(values) // 2]


def cost(arguments):
    pairs = []
    for turn in range(arguments.turns):
        order = [False, True] if turn % 2 == 0 else [True, False]
        found = {is_watched: measured(arguments, is_watched) for is_watched in order}
        pairs.append([found[True][kind] / found[False][kind] for kind in (0, 1)])
        print(f"turn {turn + 1}: {found[False][0] * 1e6:.1f} us a step alone, {found[True][0] * 1e6:.1f} watched; "
              f"CPU time {found[False][1]:.2f} s, {found[True][1]:.2f} s", flush=True)
    for kind, name in enumerate(["step time", "CPU time"]):
        ratios = sorted(pair[kind] for pair in pairs)
        print(f"{name}, watched over alone: {median(ratios):.4f} (from {ratios[0]:.4f} to {ratios[-1]:.4f})")


def resident_kib(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def memory(arguments):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run = Run(arguments, arguments.steps, True, folder)
        wanted = [arguments.steps // 100, arguments.steps // 10, arguments.steps // 2, arguments.steps - arguments.steps // 50]
        while wanted and run.process.poll() is None:
            time.sleep(0.2)
            try:
                with (folder / "run/metrics.jsonl").open("rb") as lines:
                    lines.seek(max(0, lines.seek(0, os.SEEK_END) - 2000))
                    last = lines.read().decode().splitlines()[-2:]
                step = max((json.loads(line).get("step", 0) for line in last if line.startswith("{") and line.endswith("}")), default=0)
            except OSError:
                continue
            if step >= wanted[0]:
                wanted.pop(0)
                children = pathlib.Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
                all_of = [run.process.pid, *map(int, children)]
                print(f"step {step}: " + ", ".join(f"{resident_kib(pid) / 1024:.1f}" for pid in all_of) + " MiB", flush=True)
        run.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/lockstep")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    arguments.program = str(pathlib.Path(arguments.program).resolve())
    memory(arguments) if arguments.memory else cost(arguments)


if __name__ == "__main__":
    main()
