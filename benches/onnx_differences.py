"""How far onnxruntime is from `lockstep predict` on whole tables: for each, how many labels differ, and the largest difference of a number,
over its size where that is above 1.

    python3 benches/onnx_differences.py [--lockstep target/release/lockstep] RUN=TABLE ...

TABLE is a CSV file, which may be compressed, or an IDX file of images. Needs onnx, onnxruntime, pandas and tract.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnxruntime
import pandas

sys.path.append(str(pathlib.Path(__file__).parent.parent / "run/tests/export"))
import compare

# Rows that onnxruntime gets at once.
ROWS = 10_000


def images(path):
    """The images of an IDX file, a row each."""
    content = path.read_bytes()
    sides = numpy.frombuffer(content, ">u4", content[3], 4)
    pixels = numpy.frombuffer(content, "u1", offset=4 + 4 * len(sides))
    return pixels.reshape(sides[0], -1).astype("float64")


def feeds(session, path):
    """What goes into the graph, by the names of its inputs."""
    ports = {port.name: port.type for port in session.get_inputs()}
    if ".csv" not in path.name:
        return {"image": images(path)}
    dates = [name for name, kind in ports.items() if kind == "tensor(int64)"]
    table = pandas.read_csv(path, parse_dates=dates, low_memory=False)
    return compare.columns(session, table)


def outputs(session, feeds):
    names = [port.name for port in session.get_outputs()]
    rows = len(next(iter(feeds.values())))
    parts = [
        session.run(None, {name: values[start : start + ROWS] for name, values in feeds.items()})
        for start in range(0, rows, ROWS)
    ]
    return {name: numpy.concatenate(values) for name, values in zip(names, zip(*parts))}


def differences(lockstep, run, table):
    with tempfile.TemporaryDirectory() as scratch:
        graph, predicted = f"{scratch}/model.onnx", f"{scratch}/predictions.csv"
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([lockstep, "export", run, "--output", graph], **quiet)
        subprocess.run([lockstep, "predict", run, "--data", table, "--output", predicted], **quiet)
        session = compare.session_of(graph)
        texts = {port.name: str for port in session.get_outputs() if port.type == "tensor(string)"}
        predictions = pandas.read_csv(predicted, dtype=texts, keep_default_na=False)
        return compare.differences(outputs(session, feeds(session, pathlib.Path(table))), predictions)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--lockstep", default="target/release/lockstep", help="the program")
    arguments.add_argument("pairs", nargs="+", metavar="RUN=TABLE")
    given = arguments.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}, numpy {numpy.__version__}, pandas {pandas.__version__}\n")
    print("| run | rows | labels that differ | largest difference |\n| --- | --- | --- | --- |")
    for pair in given.pairs:
        run, table = pair.split("=", 1)
        found = differences(given.lockstep, run, table)
        print(f"| {pathlib.Path(run).name} | {found['rows']:,} | {found['texts']} | {found['number']:.1e} |", flush=True)


main()
