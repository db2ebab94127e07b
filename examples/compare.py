#!/usr/bin/env python3
"""Splits a table and trains scikit-learn's models on it, for comparison.

    python3 examples/compare.py TABLE --target COLUMN

holds back a fifth of the rows (train_test_split with random_state=42; rows without a target are left out), writes both parts
beside the table as train.csv and test.csv, and prints what HistGradientBoosting and a network of (64, 64) get on the rest:
numbers scaled, missing ones filled with the median, categories as one input each, a target of numbers scaled for the
network. Needs scikit-learn and pandas.
"""

import argparse
import pathlib
import time

import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import f1_score, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

# Categories beyond this many have no input of their own: the rarest share one.
CATEGORIES_MAX = 250


def columns(categories, numbers):
    of = make_column_selector
    return make_column_transformer(
        (categories, of(dtype_exclude="number")), (numbers, of(dtype_include="number"))
    )


def trees(model):
    """Trees take missing numbers as they are."""
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
    )
    return make_pipeline(columns(encoder, "passthrough"), model)


def network(model):
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=CATEGORIES_MAX)
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return make_pipeline(columns(encoder, numbers), model)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("table", type=pathlib.Path)
    arguments.add_argument("--target", required=True)
    arguments.add_argument("--split-only", action="store_true")
    given = arguments.parse_args()
    table = pd.read_csv(given.table).dropna(subset=[given.target])
    parts = train_test_split(table, test_size=0.2, random_state=42)
    for part, name in zip(parts, ["train.csv", "test.csv"]):
        part.to_csv(given.table.parent / name, index=False)
    if given.split_only:
        return
    train, test = parts
    is_number = pd.api.types.is_numeric_dtype(table[given.target]) and table[given.target].nunique() > 2
    settings = dict(hidden_layer_sizes=(64, 64), early_stopping=True, random_state=0)
    if is_number:
        models = {
            "HistGradientBoosting": trees(HistGradientBoostingRegressor(random_state=0)),
            "MLP": TransformedTargetRegressor(network(MLPRegressor(**settings)), transformer=StandardScaler()),
        }
    else:
        models = {
            "HistGradientBoosting": trees(HistGradientBoostingClassifier(random_state=0)),
            "MLP": network(MLPClassifier(**settings)),
        }
    rows = {part: (table_of.drop(columns=given.target), table_of[given.target]) for part, table_of in [("train", train), ("test", test)]}
    for name, model in models.items():
        began = time.perf_counter()
        model.fit(*rows["train"])
        took = time.perf_counter() - began
        x, y = rows["test"]
        if is_number:
            said = f"R2 {r2_score(y, model.predict(x)):.4f}"
        else:
            second = model.classes_[1]
            auc = roc_auc_score(y == second, model.predict_proba(x)[:, 1])
            said = f"AUC {auc:.4f}, F1 {f1_score(y == second, model.predict(x) == second):.4f}"
        print(f"{name}: {said} in {took:.1f} s", flush=True)


if __name__ == "__main__":
    main()
