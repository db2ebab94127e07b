#!/usr/bin/env python3
"""What coding gains: a coordinator and workers, each in a network namespace, on links of 100 Mbit/s and of 1 Gbit/s.

    examples/mnist/fetch.sh && cargo build --release && sudo benches/coding.py

Takes Linux, root and iproute2, and no Python packages. For each network, precision and link, by turns: the median step time without
coding, with it, and where the run finds out by itself (which takes some steps), the ratio of the times, and the bytes of a step on the
coordinator's link with and without. All hosts share this machine's processors, so that coding, which takes their time, costs more than on
machines of their own; on the slower link the processors wait all the same.
"""

import argparse
import os
import statistics

import slow_network as network

# Widths, batch, steps of a turn.
CASES = [([784, 512, 512, 10], 256, 48)]
LINKS = [1e8, 1e9]
CODINGS = ("off", "on", "auto")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="how often each is run")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("coding.py: not root, which network namespaces take; run it with sudo")
    if not network.PROGRAM.exists():
        raise SystemExit(f"coding.py: found no {network.PROGRAM}; cargo build --release")
    if not network.MNIST.exists():
        raise SystemExit(f"coding.py: found no {network.MNIST}; examples/mnist/fetch.sh")
    network.WORKERS = options.workers
    print(f"{'network':<20} {'precision':>9} {'Mbit/s':>7} {'off ms':>8} {'on ms':>8} {'auto ms':>8} {'on/off':>7} {'MB off':>7} {'MB on':>7} {'bytes':>6}")
    with network.Hosts() as hosts:
        for widths, batch, steps in CASES:
            for precision in ("f32", "bf16"):
                for link in LINKS:
                    report(hosts, widths, batch, steps, precision, link, options.turns)


def report(hosts, widths, batch, steps, precision, link, turns):
    seconds = {coding: [] for coding in CODINGS}
    sent = {coding: [] for coding in CODINGS}
    hosts.limit(link)
    try:
        for turn in range(turns):
            # Whoever comes later finds another machine.
            for place in range(len(CODINGS)):
                coding = CODINGS[(turn + place) % len(CODINGS)]
                measured = network.train(hosts, widths, batch, steps, precision, coding=coding)
                seconds[coding].append(measured.step)
                sent[coding].append(sum(measured.step_bytes))
    finally:
        hosts.limit(None)
    off, on, auto = (1e3 * statistics.median(seconds[coding]) for coding in CODINGS)
    bytes_off, bytes_on = (statistics.median(sent[coding]) / 1e6 for coding in CODINGS[:2])
    print(
        f"{network.name(widths):<20} {precision:>9} {link / 1e6:>7.0f} {off:>8.1f} {on:>8.1f} {auto:>8.1f} {on / off:>7.2f} "
        f"{bytes_off:>7.2f} {bytes_on:>7.2f} {bytes_on / bytes_off:>6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
