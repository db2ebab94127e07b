"""Makes the folders `pytorch-*` beside it: models of PyTorch as it writes them, the jobs whose networks they are, and what it predicts.

    python3 tests/weights/make_pytorch.py
    python3 tests/weights/make_pytorch.py --lockstep target/debug/lockstep

The second imports each, exports it again, and loads what comes out into PyTorch as docs/export.md says: the weights are the same bits.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
IMAGE = (3, 3, 2)
ROWS = 24


class Block(nn.Module):
    """`x + layers(x)`."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class OfImages(nn.Sequential):
    """Rows are images, pixel by pixel, as Lockstep has them."""

    def forward(self, rows):
        height, width, channels = IMAGE
        return super().forward(rows.reshape(-1, height, width, channels).permute(0, 3, 1, 2))


class OfCategories(nn.Module):
    """Two numbers, then the place of a category."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.SiLU(), nn.LayerNorm(4, eps=1e-5), nn.Linear(4, 1))

    def forward(self, rows):
        embedded = self.embedding(rows[:, 2].long())
        return self.layers(torch.cat([rows[:, :2], embedded], 1))


def of_images():
    """Blocks before `flatten`, directly behind it and in each other, and normalization between them."""
    return OfImages(
        nn.Conv2d(2, 3, (3, 2), padding="same"),
        nn.ReLU(),
        nn.BatchNorm2d(3, eps=1e-3),
        Block(nn.Conv2d(3, 3, 3, padding="same", bias=False), nn.BatchNorm2d(3, eps=1e-3)),
        nn.Flatten(),
        Block(nn.LayerNorm(27, eps=1e-3), nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, 27)),
        nn.BatchNorm1d(27, eps=1e-3),
        Block(nn.Linear(27, 27), nn.Tanh(), Block(nn.Linear(27, 4), nn.Linear(4, 27))),
        nn.Linear(27, 2),
    )


def lively(model):
    """Weights and running statistics that are nowhere 0 or 1."""
    with torch.no_grad():
        for name, values in model.state_dict().items():
            if name.endswith("running_var"):
                values.uniform_(0.5, 2)
            elif values.is_floating_point() and values.ndim == 1:
                values.uniform_(-1, 1)
    return model.eval()


def table(header, rows, predicted):
    """A table with targets that nothing is learned from."""
    targets = [f"y{place}" for place in range(predicted.shape[1])]
    lines = [",".join(header + targets)]
    lines += [",".join(map(str, row)) + ",0" * len(targets) for row in rows]
    return "\n".join(lines) + "\n"


def predictions(predicted):
    lines = [",".join(f"y{place}" for place in range(predicted.shape[1]))]
    lines += [",".join(f"{value:.9g}" for value in row) for row in predicted.tolist()]
    return "\n".join(lines) + "\n"


def write(name, model, dtypes, header, rows, cells):
    """What is committed: the model as PyTorch writes it, in each type, a table, and what it predicts for it."""
    folder = HERE / name
    for dtype in dtypes:
        kind = str(dtype).removeprefix("torch.")
        safetensors.torch.save_model(model.to(dtype), str(folder / f"{kind}.safetensors"))
        with torch.no_grad():
            predicted = model.float()(rows)
        (folder / f"{kind}.csv").write_text(predictions(predicted))
    (folder / "train.csv").write_text(table(header, cells, predicted))


# Of the model of images: layers that take the values of the flattened image, and those that make such.
TAKE = ["layers.4.layers.0", "layers.4.layers.1", "layers.5", "layers.6.layers.0", "layers.6.layers.1.layers.0", "layers.7"]
MAKE = ["layers.4.layers.2", "layers.6.layers.0", "layers.6.layers.1.layers.1"]
OWN_NAMES = {
    "weight": ["kernel", "gamma", "embedding"],
    "bias": ["bias", "beta"],
    "running_mean": ["moving_mean"],
    "running_var": ["moving_variance"],
}


def state(model, ours):
    """What a file of ours is as the state of a model of PyTorch: as docs/export.md says."""
    height, width, channels = IMAGE[0], IMAGE[1], 3
    by_channels = numpy.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1).ravel()
    number = lambda name: [int(part) for part in name.split(".") if part.isdigit()]
    layers = sorted({name.rsplit(".", 1)[0] for name in ours}, key=number)
    theirs = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
    modules = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in theirs))
    found = {}
    for name in theirs:
        module, own = name.rsplit(".", 1)
        layer = layers[modules.index(module)]
        values = next(ours[f"{layer}.{of}"] for of in OWN_NAMES[own] if f"{layer}.{of}" in ours)
        is_kernel = f"{layer}.kernel" in ours and own == "weight"
        if layer in TAKE and (is_kernel or f"{layer}.gamma" in ours):
            values = values[by_channels]
        if layer in MAKE:
            values = values[..., by_channels]
        if is_kernel:
            values = values.transpose((3, 2, 0, 1) if values.ndim == 4 else (1, 0))
        found[name] = torch.tensor(numpy.ascontiguousarray(values))
    return found


def check(lockstep, name, model):
    """Whether the weights survive the way there and back."""
    folder = HERE / name
    with tempfile.TemporaryDirectory() as scratch:
        run, file = f"{scratch}/run", f"{scratch}/ours.safetensors"
        weights = folder / "float32.safetensors"
        subprocess.run([lockstep, "import", folder / "job.toml", "--weights", weights, "--out", run], check=True)
        subprocess.run([lockstep, "export", run, "--format", "safetensors", "--output", file], check=True)
        found = state(model, safetensors.numpy.load_file(file))
    model.float().load_state_dict(found, strict=False)
    wanted = safetensors.torch.load_file(weights)
    for tensor, values in found.items():
        assert torch.equal(model.state_dict()[tensor], wanted[tensor]), tensor
    print(f"{name}: {len(found)} tensors are the same")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--lockstep", help="the program: checks instead of writing")
    lockstep = arguments.parse_args().lockstep
    torch.manual_seed(7)
    images, categories = lively(of_images().double()), lively(OfCategories().double())
    if lockstep:
        check(lockstep, "pytorch-images", images)
        check(lockstep, "pytorch-embedding", categories)
        return
    pixels = torch.rand(ROWS, 18).mul(8).round().div(4)
    numbers = torch.randn(ROWS, 2).mul(8).round().div(8)
    places = torch.arange(ROWS).mul(5).remainder(3).add(1)
    columns = [f"p{place}" for place in range(18)]
    write("pytorch-images", images, [torch.float32], columns, pixels, pixels.tolist())
    cells = [[*pair, "abc"[place - 1]] for pair, place in zip(numbers.tolist(), places.tolist())]
    rows = torch.cat([numbers, places[:, None].float()], 1)
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    write("pytorch-embedding", categories, dtypes, ["u", "v", "letter"], rows, cells)


main()
