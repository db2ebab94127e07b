"""Step time of PyTorch on made-up rows: one process, or DDP over gloo with several.

    python3 benches/peers/pytorch_ddp.py --widths 784,512,512,10 --batch 256 --steps 60 --processes 2 --threads 1

A dense relu network, Adam, cross entropy (mean squared error with one output). Every process holds its rows in memory and
takes an equal share of the batch; a step is gather, forward, loss, backward with the gradients' exchange, and update.
Three steps to warm up, then `--repeats` times `--steps` steps. Prints one line of JSON: the mean step time of each repeat in
seconds. `benches/cluster` runs it beside Lockstep.
"""

import argparse
import json
import os
import socket
import time

try:
    import torch
except ImportError:
    raise SystemExit("pytorch_ddp.py: found no torch for this python3, wanted PyTorch; pip install torch")
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

WARM_UP_STEPS = 3


def network(widths):
    layers = []
    for inputs, units in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def measure(rank, options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(rank)
    if options.processes > 1:
        address = f"tcp://{options.address}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=options.processes)
    model = network(options.widths)
    if options.processes > 1:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rows = max(4 * options.batch, 1024) // options.processes
    share = options.batch // options.processes
    inputs, outputs = options.widths[0], options.widths[-1]
    x = torch.randn(rows, inputs)
    y = torch.randn(rows, 1) if outputs == 1 else torch.randint(0, outputs, (rows,))
    loss_of = nn.MSELoss() if outputs == 1 else nn.CrossEntropyLoss()
    order = torch.randperm(rows)

    def step(number):
        at = number * share % (rows - share + 1)
        mine = order[at : at + share]
        optimizer.zero_grad()
        loss_of(model(x[mine]), y[mine]).backward()
        optimizer.step()

    for number in range(WARM_UP_STEPS):
        step(number)
    repeats = []
    for _ in range(options.repeats):
        started = time.perf_counter()
        for number in range(options.steps):
            step(number)
        repeats.append((time.perf_counter() - started) / options.steps)
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "step_seconds": repeats}), flush=True)
    if options.processes > 1:
        # Gloo's threads can abort a process that takes it down while others still talk to it: all end at once, as they are.
        dist.barrier()
        os._exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", required=True, type=lambda text: [int(width) for width in text.split(",")])
    parser.add_argument("--batch", required=True, type=int)
    parser.add_argument("--steps", required=True, type=int)
    for name, default in [("repeats", 5), ("processes", 1), ("threads", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rank", type=int, help="be only this one of the processes; the others are started elsewhere")
    parser.add_argument("--address", help="where rank 0 listens, HOST:PORT")
    options = parser.parse_args()
    if options.rank is not None:
        return measure(options.rank, options)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options.address = f"127.0.0.1:{free.getsockname()[1]}"
    if options.processes > 1:
        mp.spawn(measure, (options,), nprocs=options.processes)
    else:
        measure(0, options)


if __name__ == "__main__":
    main()
