"""What scikit-learn says of some outputs, for the tests of metrics: python values.py > values.json

Scores are multiples of 1/1024 plus a little, so that no two that differ fall into one of the 1,024 bins; many are equal.
"""

import json

import numpy as np
from sklearn import metrics as m

random = np.random.default_rng(7)
ROWS = 60


def scores(shape):
    return (random.integers(1, 1023, shape) // 16 * 16 + 0.25) / 1024


def shares(labels, predicted, average):
    of = {"precision": m.precision_score, "recall": m.recall_score, "f1": m.f1_score}
    plain = {name: f(labels, predicted, average=average, zero_division=0) for name, f in of.items()}
    weighted = {f"{name}_weighted": f(labels, predicted, average="weighted", zero_division=0) for name, f in of.items()}
    return plain | weighted


def case(outputs, targets, values):
    return {
        "outputs": np.float64(np.float32(outputs)).tolist(),
        "targets": np.float64(targets).tolist(),
        "values": {name: float(value) for name, value in values.items()},
    }


def several_classes():
    outputs = scores((ROWS, 6))
    labels = random.integers(0, 4, ROWS)
    outputs[np.arange(ROWS), labels] += random.integers(0, 2, ROWS) * 32 / 1024
    # A class that is neither there nor predicted.
    outputs[:, 5] = 0
    one = np.stack([labels == c for c in range(6)], axis=1)
    values = shares(labels, outputs.argmax(axis=1), "macro")
    values["accuracy"] = m.accuracy_score(labels, outputs.argmax(axis=1))
    values["average_precision"] = m.average_precision_score(one, outputs, average="macro")
    values["roc_auc"] = np.mean([m.roc_auc_score(one[:, c], outputs[:, c]) for c in range(4)])
    return case(outputs, labels, values)


def two_classes():
    one = scores(ROWS)
    labels = (random.random(ROWS) < one * 0.5).astype(int)
    values = shares(labels, (one > 0.5).astype(int), "binary")
    values["accuracy"] = m.accuracy_score(labels, one > 0.5)
    values["average_precision"] = m.average_precision_score(labels, one)
    values["roc_auc"] = m.roc_auc_score(labels, one)
    return case(one[:, None], labels, values), case(np.stack([1 - one, one], axis=1), labels, values)


def several_outputs():
    outputs = scores((ROWS, 3))
    targets = (random.random((ROWS, 3)) < outputs).astype(int)
    values = shares(targets, (outputs > 0.5).astype(int), "macro")
    values["average_precision"] = m.average_precision_score(targets, outputs, average="macro")
    values["roc_auc"] = m.roc_auc_score(targets, outputs, average="macro")
    return case(outputs, targets, values)


def numbers():
    outputs, targets = np.float32(random.normal(size=ROWS)), np.float32(random.normal(size=ROWS))
    o, t = np.float64(outputs), np.float64(targets)
    values = {
        "mse": m.mean_squared_error(t, o),
        "rmse": m.root_mean_squared_error(t, o),
        "mae": m.mean_absolute_error(t, o),
        # Keras' is in percent.
        "mape": 100 * m.mean_absolute_percentage_error(t, o),
        "r2": m.r2_score(t, o),
    }
    return case(outputs[:, None], targets, values)


output, softmax = two_classes()
cases = {
    "several classes": several_classes(),
    "one output": output,
    "softmax of two": softmax,
    "several outputs": several_outputs(),
    "numbers": numbers(),
}
print(json.dumps(cases))
