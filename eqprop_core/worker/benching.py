"""Benchmarks of what a plan says: its data and its network, on the device that it would train on."""

from __future__ import annotations

from dataclasses import asdict
from math import ceil
from typing import Any

from eqprop_core.data.batches import Batch
from eqprop_core.data.datasets import Dataset
from eqprop_core.estimate import epoch_seconds, exactly
from eqprop_core.learning.optimizer import connection_index
from eqprop_core.runs import names
from eqprop_core.runs.settings import Plan
from eqprop_core.speed.accelerations import COSINE, NORM, Likeness, fastest
from eqprop_core.speed.bench import bench
from eqprop_core.speed.quick import measure_quickly
from eqprop_core.worker.choices import choose
from eqprop_core.worker.preparing import Prepared, facts_of, first_epoch, prepare


def benchmark(plan: Plan, *, repeat: int, baseline: bool, accelerate: bool) -> dict[str, Any]:
    """Measure a training by `bench`, with stored weights where the plan has some; plain values for JSON.

    Raises `ConfigError`, `RunError` or `DataError`.
    """
    ready, batch, warnings = _prepared(plan)
    report = bench(
        ready.net,
        ready.config,
        batch.x,
        batch.y,
        train_images=len(ready.dataset.train),
        evaluated_images=_evaluated(ready.dataset),
        repeat=repeat,
        baseline=baseline,
        accelerate=accelerate,
    )
    document = asdict(report)
    for found, way in zip(document["accelerations"], report.accelerations, strict=True):
        found["numerics"] = way.numerics.document()
        found["flags"] = way.numerics.words()
        found["worst"] = way.worst
        found["ratio"] = way.ratio
        found["connections"] = _by_connection(way.gradients, len(ready.net.synapses))
    best = fastest(report.accelerations) if report.accelerations else None
    return {
        **_facts(ready, warnings),
        "repeat": repeat,
        **document,
        "fast": best and {"flags": best.numerics.words(), "cosine": COSINE, "norm": NORM},
    }


def quick_benchmark(plan: Plan) -> dict[str, Any]:
    """Measure by `measure_quickly` how long a training takes; plain values for JSON.

    Raises `ConfigError`, `RunError` or `DataError`.
    """
    ready, batch, warnings = _prepared(plan)
    measured = measure_quickly(ready.net, ready.config, batch.x, batch.y)
    batches = ceil(len(ready.dataset.train) / ready.config.mbs)
    epoch = epoch_seconds(measured, batches, _evaluated(ready.dataset))
    return {
        **_facts(ready, warnings),
        "images": len(batch.x),
        "measured": asdict(measured),
        "epoch": epoch,
        "run": epoch * ready.config.epochs,
    }


def _prepared(plan: Plan) -> tuple[Prepared, Batch, list[str]]:
    """What there is to measure: everything in place, its first training batch, and what there is to say."""
    plan = Plan(exactly(plan.config), stored=plan.stored)
    ready = prepare(plan, weights=names.BEST_FIRST)
    warnings = [*ready.warnings, *choose(ready)]
    batch = next(first_epoch(ready, ready.config.mbs))
    return ready, batch, warnings


def _facts(ready: Prepared, warnings: list[str]) -> dict[str, Any]:
    """What was measured on."""
    return {
        "machine": facts_of(ready.device, ready.label),
        "weights": ready.weights or "start values",
        "warnings": warnings,
        "choices": ready.net.numerics.document(),
    }


def _evaluated(dataset: Dataset) -> int:
    """Images that are evaluated after an epoch."""
    return len(dataset.test) + (len(dataset.validation) if dataset.validation is not None else 0)


def _by_connection(gradients: dict[str, Likeness], count: int) -> list[float]:
    """The smallest cosine in each connection's parameters."""
    found = [1.0] * count
    for name, likeness in gradients.items():
        found[connection_index(name)] = min(found[connection_index(name)], likeness.cosine)
    return found
