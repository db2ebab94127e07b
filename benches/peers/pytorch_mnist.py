"""PyTorch on the jobs of examples/mnist: same files, network, optimizer, batch and epochs, DDP over gloo.

    python3 benches/peers/pytorch_mnist.py --processes 2 --threads 1
    python3 benches/peers/pytorch_mnist.py --job convolution --processes 1 --threads 2

Prints the seconds of the training loop (as `lockstep local` does, without starting up) and the test accuracy. The
initial weights and Adam's epsilon are Keras', as the job's are. Rows are in memory; there is no data loader.
"""

import argparse
import math
import os
import socket
import time

try:
    import torch
except ImportError:
    raise SystemExit("pytorch_mnist.py: found no torch for this python3, wanted PyTorch; pip install torch")
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/mnist/data")


def idx(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        content = file.read()
    dimensions = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(content[3])]
    return torch.frombuffer(bytearray(content[4 + 4 * len(dimensions) :]), dtype=torch.uint8).view(dimensions)


def table(folder, part):
    images = idx(folder, f"{part}-images-idx3-ubyte")
    return images.flatten(1).float() / 255, idx(folder, f"{part}-labels-idx1-ubyte").long()


def with_keras_weights(layer):
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def dense():
    layers = []
    for inputs, units in [(784, 512), (512, 512), (512, 10)]:
        layers += [with_keras_weights(nn.Linear(inputs, units)), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolution():
    layers = [nn.Unflatten(1, (1, 28, 28))]
    for inputs, filters in [(1, 32), (32, 64), (64, 64)]:
        layers += [with_keras_weights(nn.Conv2d(inputs, filters, 3)), nn.ReLU(), nn.MaxPool2d(2)]
    # No pool behind the last convolution.
    head = [nn.Flatten(), nn.Dropout(0.4), with_keras_weights(nn.Linear(64 * 3 * 3, 10))]
    return nn.Sequential(*layers[:-1], *head)


def shifted(images):
    """Each image moved by up to two pixels either way, zeros behind it."""
    framed = nn.functional.pad(images.view(-1, 28, 28), (2, 2, 2, 2))
    down, right = torch.randint(0, 5, (2, len(images), 1, 1))
    rows = torch.arange(28).view(1, 28, 1) + down
    columns = torch.arange(28).view(1, 1, 28) + right
    return framed[torch.arange(len(images)).view(-1, 1, 1), rows, columns].flatten(1)


# Of each job: the network, what is done to the images of a batch, the first learning rate, and what it is multiplied by at a
# share of the steps.
JOBS = {
    "dense": (dense, lambda images: images, 0.001, lambda share: 1.0),
    "convolution": (convolution, shifted, 0.002, lambda share: 0.5 * (1 + math.cos(math.pi * share))),
}
DEFAULTS = {"dense": (5, 256), "convolution": (15, 128)}


def train(rank, options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if options.processes > 1:
        address = f"tcp://127.0.0.1:{options.port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=options.processes)
    x, y = table(options.data, "train")
    network, prepared, rate, decayed = JOBS[options.job]
    model = network()
    if options.processes > 1:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, eps=1e-7)
    steps = options.epochs * math.ceil(len(x) / options.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: decayed(step / steps))
    loss_of = nn.CrossEntropyLoss()
    started = time.perf_counter()
    for epoch in range(options.epochs):
        # The same order in every process: each takes its share of every batch.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(options.seed + epoch))
        for batch in order.split(options.batch):
            share = math.ceil(len(batch) / options.processes)
            mine = batch[rank * share : (rank + 1) * share]
            optimizer.zero_grad()
            loss_of(model(prepared(x[mine])), y[mine]).backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - started
    if rank == 0:
        x, y = table(options.data, "t10k")
        model.eval()
        with torch.no_grad():
            accuracy = (torch.cat([model(images) for images in x.split(1000)]).argmax(1) == y).float().mean().item()
        rows = options.epochs * 60_000 / seconds
        print(f"pytorch: {options.epochs} epochs in {seconds:.2f} s ({rows:,.0f} rows/s), test accuracy {accuracy:.4f}")
    if options.processes > 1:
        dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--job", choices=JOBS, default="dense")
    for name, default in [("processes", 2), ("threads", 1), ("epochs", None), ("batch", None), ("seed", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    epochs, batch = DEFAULTS[options.job]
    options.epochs, options.batch = options.epochs or epochs, options.batch or batch
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options.port = free.getsockname()[1]
    if options.processes > 1:
        mp.spawn(train, (options,), nprocs=options.processes)
    else:
        train(0, options)


if __name__ == "__main__":
    main()
