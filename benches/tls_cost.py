#!/usr/bin/env python3
"""What encryption costs: a coordinator and workers, each in a network namespace, on links of 1 and of 10 Gbit/s.

    cargo build --release && sudo benches/tls_cost.py

Takes Linux, root and iproute2, and no Python packages. For each network and link: the median step time with TLS and with
`--insecure`, by turns, and the ratio of the two: the median over all turns, and its quartiles. Then the processor time of a step, of
all processes together, of which the difference is what encryption takes on all machines, whatever else this one does. All hosts share this machine's
processors, so that both ends of every link are encrypted here: on machines of their own it costs less.
"""

import argparse
import os
import resource
import statistics

import slow_network as network

# Widths, batch, steps of a turn.
CASES = [([784, 512, 512, 10], 256, 60), ([784, 2048, 2048, 10], 256, 16)]
LINKS = [1e9, 1e10]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9, help="how often each is run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", metavar="TEXT", help="networks with this in their names")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("tls_cost.py: not root, which network namespaces take; run it with sudo")
    if not network.PROGRAM.exists():
        raise SystemExit(f"tls_cost.py: found no {network.PROGRAM}; cargo build --release")
    network.WORKERS = options.workers
    print(f"{'network':<20} {'Gbit/s':>7} {'open ms':>9} {'TLS ms':>9} {'TLS/open':>9} {'quartiles':>15} {'open cpu ms':>12} {'TLS cpu ms':>12}")
    with network.Hosts() as hosts:
        for widths, batch, steps in CASES:
            if options.only not in network.name(widths):
                continue
            for link in LINKS:
                report(hosts, widths, batch, steps, link, options.turns)


def cpu_seconds():
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(hosts, widths, batch, steps, link, turns):
    openly, safely = [], []
    open_cpu, safe_cpu = [], []
    hosts.limit(link)
    try:
        for turn in range(turns):
            # Whoever comes second finds another machine: each comes first every other turn.
            for is_encrypted in (False, True) if turn % 2 else (True, False):
                before = cpu_seconds()
                seconds, _ = network.train(hosts, widths, batch, steps, "f32", is_encrypted)
                (safely if is_encrypted else openly).append(seconds)
                (safe_cpu if is_encrypted else open_cpu).append((cpu_seconds() - before) / steps)
    finally:
        hosts.limit(None)
    ratios = [safe / open_ for safe, open_ in zip(safely, openly)]
    low, middle, high = statistics.quantiles(ratios, n=4) if turns > 1 else ratios * 3
    print(
        f"{network.name(widths):<20} {link / 1e9:>7.0f} {statistics.median(openly) * 1e3:>9.2f} "
        f"{statistics.median(safely) * 1e3:>9.2f} {middle:>9.3f} {low:>7.3f} {high:>7.3f} "
        f"{statistics.median(open_cpu) * 1e3:>12.2f} {statistics.median(safe_cpu) * 1e3:>12.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
