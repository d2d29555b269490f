"""Every number of the reference, in float64 and float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_files import NAMES, Golden, golden
from torch import Tensor

from eqprop_core import bptt_gradients, ep_gradients, gdu_check
from eqprop_core.learning.equilibrium import relax
from eqprop_core.learning.optimizer import apply_gradients, build_optimizer

DOUBLE, SINGLE = torch.float64, torch.float32
ESTIMATORS = {"ep_one_sided": "one-sided", "ep_symmetric": "symmetric"}


def relative_error(found: Tensor, expected: np.ndarray) -> float:
    """Relative in norm; absolute where the expected value is zero."""
    difference = np.linalg.norm(found.double().numpy() - expected)
    size = np.linalg.norm(expected)
    return float(difference / size) if size > 0 else float(difference)


def assert_close(found: dict[str, Tensor], expected: dict[str, np.ndarray], tolerance: float) -> None:
    errors = {name: relative_error(found[name], value) for name, value in expected.items()}
    assert expected
    assert max(errors.values()) <= tolerance, errors


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> Golden:
    return golden(request.param)


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-9), (SINGLE, 2e-6)])
def test_states_are_the_references(case: Golden, dtype: torch.dtype, tolerance: float) -> None:
    net = case.network(dtype)
    phases = relax(
        net,
        case.tensor("x", dtype),
        case.tensor("y", dtype),
        steps=case.steps,
        beta=case.config["beta"],
        estimator="symmetric",
    )
    for key, state in (("free", phases.free), ("plus", phases.second), ("minus", phases.first)):
        for layer, expected in zip(state, case.states(key), strict=True):
            np.testing.assert_allclose(layer.numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("group", ESTIMATORS)
@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_ep_gradients_are_the_references(case: Golden, group: str, dtype: torch.dtype) -> None:
    expected = case.group(group)
    if not expected:
        pytest.skip("the reference has no symmetric estimator for this network")
    found = ep_gradients(
        case.network(dtype),
        case.tensor("x", dtype),
        case.tensor("y", dtype),
        steps=case.steps,
        beta=case.config["beta"],
        estimator=ESTIMATORS[group],
        same_update=case.same_update,
    )
    assert set(found) == set(expected)
    for name, value in expected.items():
        tolerance = 1e-6
        if dtype == SINGLE:
            tolerance = max(2e-4, float(case.arrays[f"float32_error/{group}/{name}"]))
        assert relative_error(found[name], value) <= tolerance, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-8), (SINGLE, 2e-4)])
def test_bptt_gradients_are_the_references(case: Golden, dtype: torch.dtype, tolerance: float) -> None:
    found = bptt_gradients(
        case.network(dtype), case.tensor("x", dtype), case.tensor("y", dtype), steps=case.steps
    )
    assert set(found) == set(case.group("bptt"))
    assert_close(found, case.group("bptt"), tolerance)


def test_gdu_arrays_are_the_references(case: Golden) -> None:
    found = gdu_check(
        case.network(DOUBLE),
        case.tensor("x", DOUBLE),
        case.tensor("y", DOUBLE),
        steps=case.steps,
        beta=case.config["beta"],
        same_update=case.same_update,
    )
    assert set(found.ep) == set(case.group("gdu_ep")) == set(found.bptt)
    assert_close(found.ep, case.group("gdu_ep"), 1e-6)
    assert_close(found.bptt, case.group("gdu_bptt"), 1e-6)
    for name, value in case.group("gdu_rmse").items():
        assert found.rmse[name] == pytest.approx(float(value), rel=1e-6, abs=1e-9), name
    for name, value in case.group("gdu_sign_error").items():
        assert found.sign_error[name] == pytest.approx(float(value), abs=1e-7), name


def test_gdu_distances_hold_in_single_precision(case: Golden) -> None:
    found = gdu_check(
        case.network(SINGLE),
        case.tensor("x", SINGLE),
        case.tensor("y", SINGLE),
        steps=case.steps,
        beta=case.config["beta"],
        same_update=case.same_update,
    )
    for name, value in case.group("gdu_ep").items():
        first = value[: max(1, len(value) // 2)]  # later updates are smaller than float32 resolves over β
        assert relative_error(found.ep[name][: len(first)], first) <= 2e-3, name
    for name, value in case.group("gdu_rmse").items():
        assert found.rmse[name] == pytest.approx(float(value), abs=0.02), name


@pytest.mark.parametrize("group", ["trained_ep", "trained_bptt"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-5), (SINGLE, 2e-3)])
def test_four_optimizer_steps_end_where_the_references_do(
    case: Golden, group: str, dtype: torch.dtype, tolerance: float
) -> None:
    config = case.config
    net = case.network(dtype)
    optimizer = build_optimizer(
        net, optim=config["optim"], lrs=config["lrs"], wds=config["wds"], mmt=config["mmt"]
    )
    for step in range(4):
        x, y = case.tensor(f"train_x/{step}", dtype), case.tensor(f"train_y/{step}", dtype)
        if group == "trained_bptt":
            gradients = bptt_gradients(net, x, y, steps=case.steps)
        else:
            estimator = "one-sided" if config["model"] == "VFMLP" else "symmetric"
            gradients = ep_gradients(
                net,
                x,
                y,
                steps=case.steps,
                beta=config["beta"],
                estimator=estimator,
                same_update=case.same_update,
            )
        apply_gradients(net, optimizer, gradients)
    trained = {name: p.detach() for name, p in net.named_parameters()}
    assert_close(trained, case.group(group), tolerance)
