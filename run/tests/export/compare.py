"""Runs exported models on tables with onnxruntime and tract, and says how far they are from predictions.

The one argument is a folder with a folder for each case: `columns.onnx` takes the columns of `table.csv`, `encoded.onnx` the
rows in `numbers.bin` (f32) and `places.bin` (i64, column by column); `predictions.csv` is what `predict` writes. Prints JSON: for
each case, runtime and graph the largest difference of a number, over its size where that is above 1, and how many texts differ.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime
import pandas
import tract

# The three lines of docs/export.md, where they are a dictionary and a comprehension.
CELLS = {
    "tensor(double)": lambda cells: cells.to_numpy("float64"),
    "tensor(string)": lambda cells: cells.astype(object).fillna("").astype(str).to_numpy(object),
    "tensor(int64)": lambda cells: cells.to_numpy("datetime64[s]").astype("int64"),
}


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def columns(session, table):
    return {port.name: CELLS[port.type](table[[port.name]]) for port in session.get_inputs()}


def encoded(session, case):
    feeds = {}
    for port in session.get_inputs():
        if port.type == "tensor(float)":
            feeds[port.name] = numpy.fromfile(case / "numbers.bin", "<f4").reshape(-1, port.shape[1])
    ports = [port.name for port in session.get_inputs() if port.type == "tensor(int64)"]
    if ports:
        places = numpy.fromfile(case / "places.bin", "<i8").reshape(len(ports), -1, 1)
        feeds |= dict(zip(ports, places))
    return feeds


def outputs(session, feeds):
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds)))


def outputs_of_tract(path, feeds):
    loaded = tract.onnx().load(path)
    inputs = [feeds[loaded.input_name(at)] for at in range(loaded.input_count())]
    names = [loaded.output_name(at) for at in range(loaded.output_count())]
    found = loaded.into_model().into_runnable().run(inputs)
    return {name: values.to_numpy() for name, values in zip(names, found)}


def differences(found, predictions):
    number, texts, compared = 0.0, 0, 0
    for name, values in found.items():
        if values.dtype == object:
            texts += int((values[:, 0] != predictions[name].astype(str).to_numpy(object)).sum())
            compared += 1
            continue
        # `{target}_probabilities` has a column for each class, `{target}_{class}`.
        if name.endswith("_probabilities"):
            of_target = name.removesuffix("probabilities")
            wanted = [other for other in predictions.columns if other.startswith(of_target)]
        elif name.endswith("_probability"):
            of_target = name.removesuffix("probability")
            wanted = [other for other in predictions.columns if other.startswith(of_target)]
        else:
            wanted = [name]
        wanted = predictions[wanted].to_numpy("float64")
        assert wanted.shape == values.shape, (name, wanted.shape, values.shape)
        assert numpy.isfinite(values).all(), name
        # What is always the same shows nothing.
        assert (wanted.std(axis=0) > 0).all(), name
        difference = numpy.abs(values - wanted) / numpy.maximum(1.0, numpy.abs(wanted))
        number = max(number, float(difference.max()))
        compared += 1
    assert compared == len(found) > 0
    return {"number": number, "texts": texts, "rows": len(predictions)}


def main(folder):
    results = {}
    for case in sorted(pathlib.Path(folder).iterdir()):
        dates = (case / "dates.txt").read_text().split()
        table = pandas.read_csv(case / "table.csv", parse_dates=dates, keep_default_na=True)
        labels = (case / "labels.txt").read_text().split()
        kinds = {name: str for name in labels}
        predictions = pandas.read_csv(case / "predictions.csv", dtype=kinds, keep_default_na=False)
        results[case.name] = {}
        for graph in ["columns", "encoded"]:
            path = str(case / f"{graph}.onnx")
            onnx.checker.check_model(path, full_check=True)
            session = session_of(path)
            feeds = columns(session, table) if graph == "columns" else encoded(session, case)
            results[case.name][f"onnxruntime, {graph}"] = differences(outputs(session, feeds), predictions)
            if graph == "columns":
                refused(session, feeds, (case / "refused.txt").read_text().split())
            else:
                results[case.name][f"tract, {graph}"] = differences(outputs_of_tract(path, feeds), predictions)
    print(json.dumps(results))


def refused(session, feeds, names):
    """A missing cell that has to be there makes every number of its row NaN, and its label the empty text."""
    for name in names:
        broken = {key: value.copy() for key, value in feeds.items()}
        if broken[name].dtype == object:
            broken[name][0, 0] = ""
        elif broken[name].dtype == numpy.int64:
            broken[name][0, 0] = numpy.iinfo("int64").min
        else:
            broken[name][0, 0] = numpy.nan
        whole = session.run(None, feeds)
        for values, before in zip(session.run(None, broken), whole):
            is_none = (values[0] == "").all() if values.dtype == object else numpy.isnan(values[0]).all()
            assert is_none, (name, values[0])
            assert (values[1:] == before[1:]).all(), name


if __name__ == "__main__":
    main(sys.argv[1])
