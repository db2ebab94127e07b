#!/usr/bin/env python3
"""Writes fraud.csv beside this script: 40,000 invented card payments, one in twenty of them a fraud. The same every time.

Frauds come in a few patterns that no single column shows: small trial payments in a row, large ones far from home at night,
and goods that are easily sold, on a new account. A few honest payments look the same, and a few frauds do not.

Needs Python, and no other package.
"""

import csv
import math
import pathlib
import random

ROWS = 40_000
FRAUDS = ROWS // 20
SEED = 20

SHOPS = ["groceries", "fuel", "travel", "restaurant", "clothing", "electronics", "jewellery", "vouchers", "pharmacy", "games"]
EASILY_SOLD = {"electronics", "jewellery", "vouchers"}
COUNTRIES = ["AT", "BE", "CH", "CZ", "DE", "DK", "ES", "FR", "GB", "IT", "NL", "PL", "SE", "US"]


def payment(random):
    """A payment, and how much it looks like a fraud."""
    hour = int(random.triangular(0, 24, 15)) % 24
    shop = random.choice(SHOPS)
    amount = math.exp(random.gauss(3.4, 1.1))
    home_km = math.exp(random.gauss(2.0, 1.6))
    account_days = int(random.expovariate(1 / 900))
    in_last_hour = min(int(random.expovariate(1 / 0.9)), 12)
    usual = math.exp(random.gauss(3.4, 0.5))
    is_chip = random.random() < 0.7
    night = 1.0 if hour < 6 else 0.0
    trials = 1.6 * in_last_hour - 0.05 * amount
    far = 1.3 * math.log1p(home_km) + 1.5 * night + 1.1 * math.log(amount / usual) - 5.5
    goods = (2.2 if shop in EASILY_SOLD else -3.0) + 1.2 * math.log(amount / 30) - account_days / 200
    looks = max(trials - 4.0, far, goods) - (1.8 if is_chip else 0.0) + random.gauss(0, 0.15)
    row = {
        "amount": round(amount, 2),
        "usual_amount": round(usual, 2),
        "shop": shop,
        "country": random.choice(COUNTRIES),
        "hour": hour,
        "home_km": round(home_km, 1) if random.random() > 0.06 else "",
        "account_days": account_days,
        "payments_in_last_hour": in_last_hour,
        "chip": "true" if is_chip else "false",
    }
    return looks, row


def main():
    source = random.Random(SEED)
    payments = [payment(source) for _ in range(ROWS)]
    least = sorted((looks for looks, _ in payments), reverse=True)[FRAUDS]
    path = pathlib.Path(__file__).resolve().parent / "fraud.csv"
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, [*payments[0][1], "fraud"], lineterminator="\n")
        table.writeheader()
        for looks, row in payments:
            table.writerow({**row, "fraud": "yes" if looks > least else "no"})
    print(f"{path} has {ROWS} rows, {FRAUDS} of them frauds")


if __name__ == "__main__":
    main()
