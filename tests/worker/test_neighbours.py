"""Sockets between the processes of one machine: what is said over them, who is lost, and for how long one waits."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch

from eqprop_core.runs.folder import RunError
from eqprop_core.worker import neighbours, patience
from eqprop_core.worker.neighbours import HEADER, LARGEST_WORDS, Links, Neighbours, link, note, noted
from eqprop_core.worker.patience import Patience, ProcessLostError

NOBODY = 65534  # a user without rights


def together(size: int, work: Callable[[Neighbours], Any]) -> list[Any]:
    """What each of `size` threads, joined as processes are, comes to: a value or an error."""
    links = link(size)
    shared = {number for one in links for number in (one.notes, one.meeting)}
    found: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            talk = Neighbours(links[rank], lambda: False)
            try:
                found[rank] = work(talk)
            finally:
                talk.leave()
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in shared:
        os.close(number)
    return found


def rank(talk: Neighbours) -> int:
    return talk._links.rank


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 5, 300_000])
def test_sums_are_those_of_all_in_the_order_of_ranks(count: int, dtype: torch.dtype) -> None:
    each = [torch.randn(count, dtype=dtype, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    expected = each[0] + each[1] + each[2]

    def add(talk: Neighbours) -> list[torch.Tensor]:
        found = []
        for _ in range(2):
            values = each[rank(talk)].clone()
            talk.add(values)
            found.append(values)
        return found

    for found in together(3, add):
        assert all(torch.equal(values, expected) for values in found)


def test_words_come_to_all_as_json_has_them_and_bytes_as_they_are() -> None:
    content = os.urandom(1_000_000)

    def talk_of_all(talk: Neighbours) -> Any:
        said = talk.gather({"rank": rank(talk), "pair": (1, None), "at": float("inf")})
        given = talk.hand_out(content if rank(talk) == 0 else None, len(content))
        return said, bytes(given)

    for said, given in together(3, talk_of_all):
        assert said == [{"rank": n, "pair": [1, None], "at": float("inf")} for n in range(3)]
        assert given == content


@pytest.mark.parametrize(
    "wrong",
    [
        lambda talk: talk.hand_out(b"x", 1),  # bytes, where words are expected
        lambda talk: talk._send(1, b"n", b"1234"),
        lambda talk: talk._sockets[1].send(HEADER.pack(b"w", 2**63)),
        lambda talk: talk._sockets[1].send(b"\0" * HEADER.size),
    ],
)
def test_what_is_not_expected_is_refused(wrong: Callable[[Neighbours], Any]) -> None:
    def say(talk: Neighbours) -> Any:
        return wrong(talk) if rank(talk) == 0 else talk._receive(0, b"w", 100)

    _, refused = together(2, say)
    assert type(refused) in (RunError, ProcessLostError)


def test_no_process_says_more_than_it_may() -> None:
    found = together(2, lambda talk: talk.gather("x" * LARGEST_WORDS))
    assert all(isinstance(error, RunError) for error in found)


def test_one_that_ends_is_named_with_its_reason() -> None:
    def end(talk: Neighbours) -> Any:
        if rank(talk) == 2:
            talk.report(ValueError("no \x1b[2J images\nhere"))
            return None
        return talk.gather(None)

    lost, others, _ = together(3, end)
    assert str(lost) == "process 2 of 3 (from 0) ended: no \\x1b[2J images; here"
    assert isinstance(others, ProcessLostError)


def test_a_reason_is_bounded() -> None:
    links = link(2)
    for words, said in (("é" * 10_000, "é" * 1023), ("", ""), ("short", "short")):
        note(links[1], words)
        assert noted(links[0], 1).rstrip("\ufffd") == said
    assert noted(links[0], 0) == ""
    for number in {number for one in links for number in one.descriptors}:
        os.close(number)


def test_what_joins_them_has_no_name_and_no_address_and_is_closed_to_others() -> None:
    links = link(2)
    own = psutil.Process()
    assert [one.laddr for one in own.net_connections("unix") if one.fd in links[0].descriptors] == [""]
    assert [os.fstat(number).st_nlink for number in (links[0].notes, links[0].meeting)] == [0, 0]
    assert not any(os.get_inheritable(number) for number in links[0].descriptors)
    try:
        if os.geteuid():
            pytest.skip("needs root, to try it as another user")
        child = os.fork()
        if not child:
            os.setgroups([])
            os.setresuid(NOBODY, NOBODY, NOBODY)
            opened = 0
            for number in links[0].descriptors:
                try:
                    os.open(f"/proc/{own.pid}/fd/{number}", os.O_RDWR)
                    opened += 1
                except OSError:
                    pass
            os._exit(opened)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        for number in {number for one in links for number in one.descriptors}:
            os.close(number)


@pytest.mark.parametrize(
    "said",
    [
        "", "[]", "{}", "1", "[" * 10_000, '{"rank": 0}',
        '{"rank": 0, "size": 2, "sockets": [], "notes": 1, "meeting": 2}',
        '{"rank": 2, "size": 2, "sockets": [3], "notes": 1, "meeting": 2}',
        '{"rank": -1, "size": 2, "sockets": [3], "notes": 1, "meeting": 2}',
        '{"rank": 0, "size": 2, "sockets": ["3"], "notes": 1, "meeting": 2}',
        '{"rank": 0, "size": 1000000000000, "sockets": [3], "notes": 1, "meeting": 2}',
        '{"rank": 1, "size": 2, "sockets": [3], "notes": 1, "meeting": 2, "more": 3}',
    ],
)  # fmt: skip
def test_links_that_are_none_are_refused(said: str) -> None:
    with pytest.raises(ValueError):
        Links.of_document(said)


def test_links_say_what_they_are() -> None:
    links = Links(0, 3, (4, 5), 6, 7)
    assert Links.of_document(links.document()) == links


@pytest.mark.parametrize(
    ("batch", "leaving", "of_all", "stopped", "silent"),
    [
        (None, False, True, 60, 1800),
        (None, False, False, 60, None),  # rank 0 may be busy for any time
        (None, True, True, 5, 1800),  # nothing is known yet of how long a batch takes
        (2, False, True, 60, 1800),
        (2, True, True, 5, 120),
        (100, False, True, 300, 1800),
        (1000, True, True, 5, 3000),
        (1000, False, True, 3000, 10_000),
        (1000, True, False, 5, None),
    ],
)
def test_one_waits_for_as_long_as_some_batches_take(
    batch: float | None,
    leaving: bool,
    of_all: bool,
    stopped: float,
    silent: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock)
    found = Patience(dict, lambda: leaving, of_all=of_all)
    found.summed()
    if batch is not None:
        clock += batch
        found.summed()
        clock += 0.1
        found.summed()  # a shorter one, as those of an evaluation, changes nothing
    assert (found.limit(stopped=True), found.limit(stopped=False)) == (stopped, silent)


@pytest.mark.parametrize("seconds_a_look", [1.0, 500.0])
def test_only_time_in_which_one_was_looked_at_counts(
    seconds_a_look: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all of them are stopped for a day and then go on, none gives up another."""
    clock = 0.0
    stopped: dict[int, str] = {1: "process 1"}
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock)
    waiting = Patience(lambda: stopped, lambda: False, of_all=True).wait()

    def look(times: int) -> None:
        nonlocal clock
        for _ in range(times):
            clock += seconds_a_look
            waiting.look(1)

    look(29)
    stopped.clear()
    look(1)
    stopped[1] = "process 1"
    look(29)
    with pytest.raises(ProcessLostError, match="process 1, is stopped"):
        look(40)


def test_one_that_is_silent_is_given_up_by_rank_0(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock)
    monkeypatch.setattr(patience, "SILENT", 10.0)
    waiting = Patience(dict, lambda: False, of_all=True).wait()
    with pytest.raises(ProcessLostError, match=r"process 3 \(from 0\) said nothing for 10 s"):
        for _ in range(11):
            clock += 1
            waiting.look(3)


def test_a_stopped_process_is_one() -> None:
    assert not neighbours.is_stopped(psutil.Process())
