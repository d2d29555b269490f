"""Benchmarks of what a plan says: its data and its network, on the device that it would train on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from eqprop_core.data.batches import batches
from eqprop_core.learning.optimizer import connection_index
from eqprop_core.runs import names
from eqprop_core.runs.settings import Plan
from eqprop_core.speed.accelerations import COSINE, fastest
from eqprop_core.speed.bench import bench
from eqprop_core.worker.choices import choose
from eqprop_core.worker.preparing import facts_of, prepare


def benchmark(plan: Plan, *, repeat: int, baseline: bool, accelerate: bool) -> dict[str, Any]:
    """Measure a training by `bench`, with stored weights where the plan has some; plain values for JSON.

    Raises `ConfigError`, `RunError` or `DataError`.
    """
    config = plan.config.changed(fast=False, tol=None, updates="sync", precision="fp32", compile=False)
    plan = Plan(config, stored=plan.stored)
    ready = prepare(plan, weights=(names.BEST_MODEL, names.CHECKPOINT))
    config = ready.config
    assert config.seed is not None
    warnings = [*ready.warnings, *choose(ready)]
    batch = next(
        batches(
            ready.dataset.train,
            ready.dataset.info,
            batch_size=config.mbs,
            seed=config.seed,
            epoch=0,
            shuffle=True,
            augment=config.data_aug,
        )
    )
    report = bench(
        ready.net,
        config,
        batch.x,
        batch.y,
        train_images=len(ready.dataset.train),
        test_images=len(ready.dataset.test),
        repeat=repeat,
        baseline=baseline,
        accelerate=accelerate,
    )
    document = asdict(report)
    for found, way in zip(document["accelerations"], report.accelerations, strict=True):
        found["numerics"] = way.numerics.document()
        found["flags"] = way.numerics.words()
        found["speedup"] = report.accelerations[0].seconds.median / way.seconds.median
        found["worst"] = way.worst
        found["connections"] = _by_connection(way.cosines, len(ready.net.synapses))
    best = fastest(report.accelerations) if report.accelerations else None
    return {
        "machine": facts_of(ready.device, ready.label),
        "weights": ready.weights or "start values",
        "warnings": warnings,
        "repeat": repeat,
        "choices": ready.net.numerics.document(),
        **document,
        "fast": {"flags": best.numerics.words(), "cosine": COSINE} if best is not None else None,
    }


def _by_connection(cosines: dict[str, float], count: int) -> list[float]:
    """The smallest cosine in each connection's parameters."""
    found = [1.0] * count
    for name, value in cosines.items():
        found[connection_index(name)] = min(found[connection_index(name)], value)
    return found
