"""The events of a run: typed facts, one JSON object a line in `events.jsonl`.

Frozen and validated. A `Record` is an event with its place in the run: format version, sequence number, and
the time of day in seconds. Accuracies are per cent, losses means over images, times seconds. Values that are
not finite are written as null. An event is of bounded size, whoever wrote it: texts are cut, and numbers and
lists that are larger than a run can have make it unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from eqprop_core.files import bounded_json

FORMAT_VERSION = 1
LARGEST_SEQ = 2**53  # a larger whole number is not the same in every reader of JSON
EARLIEST, LATEST = -62_135_000_000.0, 253_402_000_000.0  # seconds since 1970: the years 1 and 9999, anywhere
MOST_CONNECTIONS = 2000  # of a network: a thousand convolutions and a thousand dense layers
MOST_ROWS = 5 * MOST_CONNECTIONS  # weights forward and backward, biases, neurons
MOST_CURVES = 10 * MOST_ROWS
MOST_STEPS = 1_000_000  # time steps of a phase
MOST_PHASES = 100
MOST_BINS = 1000
MOST_SETTINGS = 200


def _cut(length: int) -> AfterValidator:
    return AfterValidator(lambda text: text if len(text) <= length else text[: length - 1] + "…")


Count = Annotated[int, Field(ge=0, le=LARGEST_SEQ)]
Total = Annotated[int, Field(ge=1, le=LARGEST_SEQ)]  # what is divided by
Name = Annotated[str, _cut(200)]
Message = Annotated[str, _cut(10_000)]
Rates = Annotated[list[float], Field(max_length=MOST_CONNECTIONS)]
Steps = Annotated[list[float | None], Field(max_length=MOST_STEPS)]


class Event(BaseModel):
    """One fact that a run writes down while it happens; `kind` names the class on file."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", protected_namespaces=())
    kind: ClassVar[str]


class RunStarted(Event):
    """What is about to be done, on what."""

    kind = "run_started"
    todo: Name
    epochs: Count
    batches: Count
    train_images: Count
    test_images: Count
    parameters: Count
    device: Name
    weights: Message = ""  # which stored ones an evaluation or a check takes, in words


class RunResumed(Event):
    """The run goes on from a checkpoint; readers drop events after `from_seq`."""

    kind = "run_resumed"
    from_seq: Count
    epoch: Count
    batch: Count


class EpochStarted(Event):
    """Epoch (from 1) with its learning rates, one a connection."""

    kind = "epoch_started"
    epoch: Count
    batches: Total
    rates: Rates


class BatchFinished(Event):
    """Running accuracy and loss of the epoch so far, after batch (from 1)."""

    kind = "batch"
    epoch: Count
    batch: Count
    batches: Total
    accuracy: float
    loss: float | None
    samples_per_s: float


class PhaseProgress(Event):
    """Where a long batch is: the phase's name and time step."""

    kind = "phase"
    epoch: Count
    batch: Count
    phase: Name
    step: Count
    steps: Count


class LayerActivity(BaseModel):
    """Histogram of one layer's neurons: `counts` [bins] between `edges` [bins + 1].

    `at_low` and `at_high` are the shares (0 to 1) of neurons stuck at either bound, None for a linear layer.
    """

    model_config = ConfigDict(frozen=True)
    name: Name
    edges: Annotated[list[float], Field(max_length=MOST_BINS + 1)]
    counts: Annotated[list[Count], Field(max_length=MOST_BINS)]
    at_low: float | None = None
    at_high: float | None = None


class Activity(Event):
    """Neural activity at the free state of a batch."""

    kind = "activity"
    epoch: Count
    batch: Count
    layers: Annotated[list[LayerActivity], Field(max_length=MOST_CONNECTIONS)]


class Settling(Event):
    """Largest change of the state at each time step of each phase of a batch.

    With a tolerance, and for each phase: `mean_steps`, the mean number of time steps that an image took, and
    `unsettled`, the number of images that had not settled after the last one.
    """

    kind = "settling"
    epoch: Count
    batch: Count
    phases: Annotated[dict[Name, Steps], Field(max_length=MOST_PHASES)]
    images: Count = 0
    tol: float | None = None
    mean_steps: Annotated[dict[Name, float], Field(max_length=MOST_PHASES)] = {}
    unsettled: Annotated[dict[Name, Count], Field(max_length=MOST_PHASES)] = {}


class GduRow(BaseModel):
    """How far EP is from BPTT in one parameter or layer of neurons; see `GduResult`.

    `size` is |BPTT|, None in records of before; `too_small` tells that there is nothing to compare.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")
    name: Name
    rmse: float | None
    sign_error: float | None
    cosine: float | None
    norm_ratio: float | None
    readout: bool = False
    size: float | None = None
    too_small: bool = False


class GduCurve(BaseModel):
    """Updates of one element over the time steps; `plus` and `minus` are empty where not symmetric."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")
    name: Name
    element: Count
    ep: Steps
    bptt: Steps
    plus: Steps
    minus: Steps


class Gdu(Event):
    """A GDU check of the current weights.

    `verdict` is what it came to, in words; `chosen` which images were taken, where those are not the first;
    `steps` are (T1, T2), and a `symmetric` check nudges by ±β.
    """

    kind = "gdu"
    epoch: Count
    batch: Count
    beta: float
    images: Count
    rows: Annotated[list[GduRow], Field(max_length=MOST_ROWS)]
    curves: Annotated[list[GduCurve], Field(max_length=MOST_CURVES)]
    verdict: Message = ""
    chosen: Message = ""
    steps: tuple[Count, Count] | None = None
    symmetric: bool = False


class Angles(Event):
    """Vector field: angle in degrees between the forward and the backward weights of each pair."""

    kind = "angles"
    epoch: Count
    angles: Annotated[dict[Name, float | None], Field(max_length=MOST_CONNECTIONS)]


class EpochFinished(Event):
    """Accuracies after an epoch; `train_accuracy` is the running one, over batches as they were trained.

    One that could not be written in its time is `written_later`, from a checkpoint, after epochs that came
    later: without rates, test loss and seconds, which that does not know.
    """

    kind = "epoch_finished"
    epoch: Count
    train_accuracy: float
    validation_accuracy: float | None
    test_accuracy: float
    loss: float | None
    test_loss: float | None
    rates: Rates
    seconds: float
    best: bool
    written_later: bool = False


class Evaluated(Event):
    """Accuracy and loss of one part of the data (`train`, `validation`, `test`), not augmented."""

    kind = "evaluated"
    part: Name
    images: Count
    accuracy: float
    loss: float | None


class CheckpointSaved(Event):
    """A complete state was written."""

    kind = "checkpoint_saved"
    file: Name
    epoch: Count
    batch: Count


class Amended(Event):
    """The run goes on with other settings than it had: changed on resuming, or in flight.

    In flight, `epoch` (from 1) and `batch` are the last ones before they held: a run that is resumed from
    before that place changes them there again.
    """

    kind = "amended"
    settings: Annotated[dict[Name, JsonValue], Field(max_length=MOST_SETTINGS)]
    epoch: Count | None = None
    batch: Count | None = None


class ControlReceived(Event):
    """A request from outside was read; it takes effect between two batches."""

    kind = "control_received"
    request: Name


class ControlApplied(Event):
    """A request from outside took effect."""

    kind = "control_applied"
    request: Name
    epoch: Count
    batch: Count


class Warned(Event):
    """Something a person should know; the run goes on."""

    kind = "warning"
    message: Message


class RunFinished(Event):
    """The run is complete. `trained` and `seconds` are the `trained` and `took` of `RunSummary`.

    `best_accuracy` is what the best epoch was chosen by: `best_validation`, where images were held out, or
    else its test accuracy; `test_at_best` is its test accuracy, `last_accuracy` that of the last epoch.
    """

    kind = "run_finished"
    best_accuracy: float | None
    last_accuracy: float | None
    seconds: float
    trained: float | None = None
    best_validation: float | None = None
    test_at_best: float | None = None


class RunFailed(Event):
    """The run ended early; `message` says why and what to try."""

    kind = "run_failed"
    message: Message


KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in Event.__subclasses__()}


@dataclass(frozen=True)
class Record:
    """An event at its place in a run: sequence number and seconds since 1970."""

    seq: int
    time: float
    event: Event


def encode(record: Record) -> str:
    """One line of `events.jsonl`, without the line feed."""
    head = json.dumps({"v": FORMAT_VERSION, "seq": record.seq, "t": record.time, "kind": record.event.kind})
    try:
        body = record.event.model_dump_json()
    except ValueError:  # a path that is not UTF-8
        body = json.dumps(record.event.model_dump(mode="json"))
    return head[:-1] + ("," + body[1:] if body != "{}" else "}")


def decode(line: str | bytes) -> Record | None:
    """The record on a line, or None for a torn line, an unknown kind or fields that do not fit."""
    try:
        fields = bounded_json(line if isinstance(line, str) else line.decode("utf-8"))
        event = KINDS[fields.pop("kind")].model_validate(fields)
        return _at_its_place(fields, event)
    except UNREADABLE:
        return None


def instead_of(line: bytes) -> Record | None:
    """A warning in the place of an event of a known kind that `decode` makes nothing of; None for others."""
    try:
        fields = bounded_json(line.decode("utf-8"))
        kind = fields["kind"]
        said = f"an event ({kind}) is not as a run writes them; it is left out, and so are others like it"
        return _at_its_place(fields, Warned(message=said)) if kind in KINDS else None
    except UNREADABLE:
        return None


UNREADABLE = (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError)


def _at_its_place(fields: Mapping[str, Any], event: Event) -> Record | None:
    seq, time = int(fields["seq"]), float(fields["t"])
    return Record(seq, time, event) if 0 <= seq <= LARGEST_SEQ and EARLIEST < time < LATEST else None
