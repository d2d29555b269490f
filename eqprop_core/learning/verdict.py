"""What a GDU check comes to, in words: in how many parameters EP follows BPTT, and what keeps it from that.

EP follows where the cosine is 0.99 or more and the norms are within 10 %. A gradient that vanishes towards
the first layers is judged like any other as long as float32 can tell; what one rounding of the states would
make of an EP update (`GduResult.rounding`) says how small it may be. Readouts and neurons are not judged.
"""

from __future__ import annotations

from eqprop_core.learning.gdu import GduResult
from eqprop_core.learning.probe import COSINE, NORM

NOTICEABLE = 0.1  # of a gradient's norm: what has as much of it may be why EP does not follow
ROUNDINGS = 4.0  # a settled state may still go to and fro by a few roundings: no T1 ends that
VECTOR_FIELD = (
    "in a vector field EP's updates are not BPTT's gradient, and a sound network shows RMSEs of 0.5 to 1; "
    "how it learns shows in the angles between forward and backward weights"
)


def follows(result: GduResult, name: str) -> bool:
    """Whether EP's updates of a parameter may pass for BPTT's."""
    return result.cosine[name] >= COSINE and abs(result.norm_ratio[name] - 1) <= NORM


def too_small(result: GduResult, name: str) -> bool:
    """Whether BPTT's gradient of a row is zero, or EP's drowned in rounding."""
    size = result.size[name]
    return size == 0 or (size < result.rounding.get(name, 0.0) and not follows(result, name))


def verdict(result: GduResult, *, vector_field: bool = False, same_update: bool = False) -> str:
    """What the check came to, in a sentence."""
    judged = [name for name in result.rounding if name not in result.readout]
    compared = [name for name in judged if not too_small(result, name)]
    if not compared:
        if all(result.size[name] == 0 for name in judged):
            return "the gradient is zero on these images: nothing to compare"
        return (
            "the gradient is of rounding size on these images: nothing to compare; larger --betas show more"
        )
    differing = [name for name in compared if not follows(result, name)]
    said = f"EP follows BPTT in {len(compared) - len(differing)} of {len(compared)} parameters"
    if small := len(judged) - len(compared):
        said += f", and the gradient of {small} more is too small to tell"
    if differing:
        said += f": {_reason(result, differing, vector_field, same_update)}"
    return said


def _reason(result: GduResult, differing: list[str], vector_field: bool, same_update: bool) -> str:
    """What keeps EP from following, and what to change."""

    def largest(of: dict[str, float]) -> float:
        return max(of[name] / result.size[name] for name in differing)

    if vector_field:
        return VECTOR_FIELD if same_update else f"{VECTOR_FIELD}, which --same-update brings together"
    # On both sides of the free state, what it still moves by cancels, but for what that makes of pooling.
    drift, rounding = largest(result.drift), largest(result.rounding)
    causes = []
    if drift > (1.0 if result.ep_minus else NOTICEABLE) and drift > ROUNDINGS * rounding:
        causes.append("not settled (raise T1)")
    if rounding > NOTICEABLE:
        causes.append("rounding shows (larger --betas)")
    elif not causes or max(result.bias.get(name, 0.0) for name in differing) > NOTICEABLE:
        both = "" if result.ep_minus else ", or both sides by --thirdphase"
        causes.append(f"beta is large (smaller --betas{both})")
        if len(causes) == 1:
            causes[0] += ", a bias that training need not be rid of"
    return ", and ".join(causes)
