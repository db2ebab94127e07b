#!/usr/bin/env python3
"""How fast tables are loaded, beside pandas and gunzip: prints medians, and ratios of them.

    cargo build --release && python3 benches/loading.py [--lockstep PATH]... [--rows 340000] [--times 5]

One table of 15 columns (12 of numbers, 3 of texts; some cells are missing) as CSV, .csv.gz, .csv.zst, Parquet and NPZ. What is timed is
`lockstep check` on it: the whole process, which reads every cell, infers, fits and scales every column, less the same on the
first 100 rows. A second `--lockstep` is a program to compare with. Times are of the processors (all threads together) and
of the clock. Needs numpy, pandas and pyarrow; asserts nothing.
"""

import argparse
import gzip
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import pyarrow

JOB = """[data]
train = "{table}"
target = "y"
scale = "standard"
missing = "median"

[model]
loss = "mse"
layers = [{{ type = "dense", units = 1 }}]

[train]
optimizer = "adam"
epochs = 1
batch_size = 100
"""


def table(rows):
    random = np.random.default_rng(1)
    numbers = {f"n{i}": random.normal(size=rows).round(i % 6 + 1) for i in range(6)}
    wholes = {f"w{i}": random.integers(0, 10 ** (i + 1), rows) for i in range(5)}
    texts = {f"t{i}": random.choice([f"label {n}" for n in range(3**i * 5)], rows) for i in range(3)}
    made = pd.DataFrame({**numbers, **wholes, **texts})
    made.loc[random.random(rows) < 0.05, "n0"] = np.nan
    made["y"] = random.normal(size=rows).round(3)
    return made


def write(folder, made):
    """The table in every form: the name of each file."""
    csv = folder / "t.csv"
    made.to_csv(csv, index=False)
    (folder / "t.csv.gz").write_bytes(gzip.compress(csv.read_bytes(), 6))
    with pyarrow.CompressedOutputStream(folder / "t.csv.zst", "zstd") as to:
        to.write(csv.read_bytes())
    made.to_parquet(folder / "t.parquet", index=False)
    arrays = {name: made[name].to_numpy() for name in made}
    np.savez(folder / "t.npz", **{n: a.astype("U") if a.dtype.kind not in "if" else a for n, a in arrays.items()})
    return ["t.csv", "t.csv.gz", "t.csv.zst", "t.parquet", "t.npz"]


def timed(command):
    """Seconds of the processors and of the clock that a command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--lockstep", action="append")
    arguments.add_argument("--rows", type=int, default=340_000)
    arguments.add_argument("--times", type=int, default=5)
    given = arguments.parse_args()
    programs = given.lockstep or [str(pathlib.Path(__file__).parent.parent / "target/release/lockstep")]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made = table(given.rows)
        names = write(folder, made)
        made.head(100).to_csv(folder / "few.csv", index=False)
        for name in ["few.csv", *names]:
            (folder / f"{name}.toml").write_text(JOB.format(table=name))
        python = [sys.executable, "-c"]
        commands = {
            "pandas.read_csv, t.csv": [*python, f"import pandas; pandas.read_csv({str(folder / 't.csv')!r})"],
            "import pandas": [*python, "import pandas"],
            "gunzip, t.csv.gz": ["sh", "-c", f"gunzip -c {folder / 't.csv.gz'} > /dev/null"],
        }
        for place, program in enumerate(programs):
            for name in ["few.csv", *names]:
                commands[f"{place} {name}"] = [program, "check", str(folder / f"{name}.toml")]
        found = {what: [] for what in commands}
        # In turns, so that whatever else the machine does hits all alike.
        for _ in range(given.times):
            for what, command in commands.items():
                found[what].append(timed(command))
        median = {what: [statistics.median(t[i] for t in times) for i in (0, 1)] for what, times in found.items()}
        less = lambda what, idle: [max(a - b, 1e-6) for a, b in zip(median[what], median[idle])]
        pandas = less("pandas.read_csv, t.csv", "import pandas")
        gunzip = median["gunzip, t.csv.gz"]
        print(f"{given.rows} rows; seconds of the processors, of the clock")
        print(f"pandas.read_csv        {pandas[0]:7.3f} {pandas[1]:7.3f}")
        print(f"gunzip                 {gunzip[0]:7.3f} {gunzip[1]:7.3f}")
        for place, program in enumerate(programs):
            print(program)
            loads = {name: less(f"{place} {name}", f"{place} few.csv") for name in names}
            for name, (cpu, clock) in loads.items():
                print(f"  {name:20} {cpu:7.3f} {clock:7.3f}   of pandas.read_csv's time: {cpu / pandas[0]:.2f}, {clock / pandas[1]:.2f}")
            print(f"  t.parquet of t.csv: {loads['t.parquet'][0] / loads['t.csv'][0]:.2f}, {loads['t.parquet'][1] / loads['t.csv'][1]:.2f}")
            more = [(loads["t.csv.gz"][i]) / gunzip[i] for i in (0, 1)]
            print(f"  t.csv.gz of gunzip alone: {more[0]:.2f}, {more[1]:.2f}; of gunzip and t.csv one after the other: "
                  f"{loads['t.csv.gz'][0] / (gunzip[0] + loads['t.csv'][0]):.2f}, {loads['t.csv.gz'][1] / (gunzip[1] + loads['t.csv'][1]):.2f}")


if __name__ == "__main__":
    main()
