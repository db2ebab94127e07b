"""PyTorch on the job of examples/mnist: same files, network, optimizer, batch and epochs, DDP over gloo.

    python3 benches/peers/pytorch_mnist.py --processes 2 --threads 1

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


def network():
    layers = []
    for inputs, units in [(784, 512), (512, 512), (512, 10)]:
        dense = nn.Linear(inputs, units)
        nn.init.xavier_uniform_(dense.weight)
        nn.init.zeros_(dense.bias)
        layers += [dense, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(rank, options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if options.processes > 1:
        address = f"tcp://127.0.0.1:{options.port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=options.processes)
    x, y = table(options.data, "train")
    model = network()
    if options.processes > 1:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    loss_of = nn.CrossEntropyLoss()
    started = time.perf_counter()
    for epoch in range(options.epochs):
        # The same order in every process: each takes its share of every batch.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(options.seed + epoch))
        for batch in order.split(options.batch):
            share = math.ceil(len(batch) / options.processes)
            mine = batch[rank * share : (rank + 1) * share]
            optimizer.zero_grad()
            loss_of(model(x[mine]), y[mine]).backward()
            optimizer.step()
    seconds = time.perf_counter() - started
    if rank == 0:
        x, y = table(options.data, "t10k")
        with torch.no_grad():
            accuracy = (model(x).argmax(1) == y).float().mean().item()
        rows = options.epochs * 60_000 / seconds
        print(f"pytorch: {options.epochs} epochs in {seconds:.2f} s ({rows:,.0f} rows/s), test accuracy {accuracy:.4f}")
    if options.processes > 1:
        dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DATA)
    for name, default in [("processes", 2), ("threads", 1), ("epochs", 5), ("batch", 256), ("seed", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options.port = free.getsockname()[1]
    if options.processes > 1:
        mp.spawn(train, (options,), nprocs=options.processes)
    else:
        train(0, options)


if __name__ == "__main__":
    main()
