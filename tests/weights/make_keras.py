"""Makes what tests have of Keras: the folder `keras` beside this file, and the fine-tuned cases of tests/parity.

    KERAS_BACKEND=torch python3 tests/weights/make_keras.py

`keras` has a small model as docs/export.md writes it, the job whose network it is, and what Keras predicts. A fine-tuned case is a network
that Keras has trained, some of whose layers are frozen then, under a head that is new: the weights that it starts from, Keras' loss
at every step, and its weights at the end.
"""

import csv
import json
import pathlib

import keras
import numpy
import safetensors.numpy
from keras import layers

HERE = pathlib.Path(__file__).parent
PARITY = HERE.parent / "parity"
ROWS = 24


def named(model):
    """The two lines of docs/export.md."""
    names = [f"layers.{i}.{v.name}" for i, layer in enumerate(model.layers) for v in layer.weights]
    return dict(zip(names, [v.numpy() for v in model.weights]))


def batch_norm():
    """Of images and behind a dense layer, with the moving averages of a short training."""
    keras.utils.set_random_seed(3)
    random = numpy.random.default_rng(3)
    x = random.integers(0, 9, (ROWS, 4, 4, 1)).astype("float32") / 4
    y = numpy.stack([x.sum((1, 2, 3)) / 8, x[:, 0, 0, 0] - x[:, 3, 3, 0]], 1)
    model = keras.Sequential([
        layers.Input((4, 4, 1)),
        layers.Conv2D(3, 2, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(5, activation="tanh"),
        layers.BatchNormalization(momentum=0.5, scale=False),
        layers.Dense(2),
    ])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    model.fit(x, y, batch_size=8, epochs=6, verbose=0)
    folder = HERE / "keras"
    safetensors.numpy.save_file(named(model), folder / "float32.safetensors")
    columns = [f"p{place}" for place in range(16)] + ["y0", "y1"]
    write(folder / "train.csv", columns, [[*row.ravel(), 0, 0] for row in x])
    predicted = model.predict(x, verbose=0)
    write(folder / "float32.csv", ["y0", "y1"], [[f"{value:.9g}" for value in row] for row in predicted])


def write(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def digits():
    """Digits up to 4 are learned first, then all of them by a new head on layers that are frozen."""
    keras.utils.set_random_seed(5)
    table = numpy.loadtxt(PARITY / "digits-conv" / "train.csv", delimiter=",", skiprows=1, dtype="float32")
    with (PARITY / "digits-conv" / "train.csv").open() as file:
        columns = file.readline().strip().split(",")
    target = columns.index("y")
    x, y = numpy.delete(table, target, 1), table[:, target]
    body = [
        layers.Dense(32, activation="relu"),
        layers.BatchNormalization(momentum=0.8),
        layers.Dense(20, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01)),
        layers.LayerNormalization(),
    ]
    first = keras.Sequential([layers.Input((x.shape[1],)), *body, layers.Dense(5, activation="softmax")])
    first.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    few = y < 5
    first.fit(x[few] / 16, y[few], batch_size=32, epochs=12, verbose=0)
    for layer in body[:3]:
        layer.trainable = False
    head = [layers.Dense(16, activation="relu", kernel_regularizer=keras.regularizers.L2(0.003)), layers.Dense(10)]
    model = keras.Sequential([layers.Input((x.shape[1],)), *body, *head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    fine_tuned("digits-fine-tuned", model, named, lambda rows: (x[rows] / 16, y[rows]), len(x), 40, 4)


def diamonds():
    """Vectors of categories are learned on half of the rows, and frozen under new layers."""
    keras.utils.set_random_seed(9)
    with (PARITY / "diamonds-embedding" / "train.csv").open() as file:
        cells = list(csv.DictReader(file))
    numbers = numpy.array([[row[name] for name in ("carat", "depth", "table")] for row in cells], "float32")
    y = numpy.array([[row["y"]] for row in cells], "float32")
    columns = {"cut": 2, "color": 3}
    inputs, places, tables = [layers.Input((3,))], [], []
    for name, dimension in columns.items():
        found = sorted({row[name] for row in cells})
        # Row 0 is for what training never saw.
        places.append(numpy.array([1 + found.index(row[name]) for row in cells], "int32"))
        inputs.append(layers.Input((), dtype="int32"))
        tables.append(layers.Embedding(1 + len(found), dimension))
    embedded = layers.Concatenate()([inputs[0]] + [table(x) for table, x in zip(tables, inputs[1:])])
    body = layers.Dense(8, activation="tanh")(embedded)
    first = keras.Model(inputs, layers.Dense(1)(body))
    first.compile(keras.optimizers.Adam(0.02), "mse")
    half = slice(0, len(y) // 2)
    first.fit([x[half] for x in [numbers, *places]], y[half], batch_size=25, epochs=8, verbose=0)
    for table in tables:
        table.trainable = False
    dense = [layers.Dense(16, activation="relu"), layers.Dense(1)]
    model = keras.Model(inputs, dense[1](dense[0](embedded)))
    model.compile(keras.optimizers.Adam(0.01), "mse")

    def named(_):
        weights = {f"inputs.{name}.embedding": table.weights[0] for name, table in zip(columns, tables)}
        weights |= {f"layers.{i}.{v.name}": v for i, layer in enumerate(dense) for v in layer.weights}
        return {name: values.numpy() for name, values in weights.items()}

    def batch(rows):
        return [x[rows] for x in [numbers, *places]], y[rows]

    fine_tuned("diamonds-fine-tuned", model, named, batch, len(y), 25, 3)


def fine_tuned(name, model, named, batch, rows, size, epochs):
    """What a case has beside its job and its table, whose rows are taken in their order."""
    folder = PARITY / name
    safetensors.numpy.save_file(named(model), folder / "init.safetensors")
    losses = []
    for _ in range(epochs):
        for start in range(0, rows, size):
            model.reset_metrics()
            losses.append(float(model.train_on_batch(*batch(slice(start, start + size)))))
    safetensors.numpy.save_file(named(model), folder / "expected.safetensors")
    expected = {"framework": f"keras {keras.__version__}", "rows": rows, "steps": len(losses), "step_loss": losses}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


batch_norm()
digits()
diamonds()
