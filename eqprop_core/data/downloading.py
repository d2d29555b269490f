"""One file from one address: told how far it is, given up where nothing comes, left at once when asked to.

A thread of its own waits for the network, so that who asked for the file can always be interrupted, also
while a name is looked up or a server is silent.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

STALLED_SECONDS = 20.0  # without a byte
SECONDS_BETWEEN_LOOKS = 0.25
PIECE = 2**16  # bytes
AGENT = {"User-Agent": "eqprop"}
Told = Callable[[int, int | None], object]  # bytes that have come, and of how many if that is known


def download(url: str, target: Path, md5: str, told: Told) -> None:
    """Write what `url` serves to `target`, telling again and again how much has come; `told` may raise.

    Raises `OSError` or `http.client.HTTPException` where it does not come, `RuntimeError` where it is not
    what was published.
    """
    fetching = _Fetching(url, target)
    fetching.start()
    silent, before = 0.0, -1
    try:
        while fetching.is_alive():
            told(fetching.done, fetching.of)
            fetching.join(SECONDS_BETWEEN_LOOKS)
            silent = silent + SECONDS_BETWEEN_LOOKS if fetching.done == before else 0.0
            before = fetching.done
            if silent >= STALLED_SECONDS:
                raise TimeoutError(f"nothing has come from {url} for {STALLED_SECONDS:.0f} s")
    finally:
        fetching.unwanted.set()
    told(fetching.done, fetching.of)
    if fetching.failure is not None:
        raise fetching.failure
    if fetching.of is not None and fetching.done < fetching.of:
        raise OSError(f"{url} broke off after {fetching.done:,} of {fetching.of:,} bytes")
    if fetching.sum.hexdigest() != md5:
        raise RuntimeError(f"what {url} serves has another MD5 checksum than the published file")


class _Fetching(threading.Thread):
    """The thread that waits for the network; `failure` is what went wrong."""

    def __init__(self, url: str, target: Path) -> None:
        super().__init__(name=f"fetch {url}", daemon=True)
        self.url = url
        self.file = target.open("wb")  # here: a folder that is being removed gets no new file
        self.done = 0
        self.of: int | None = None
        self.sum = hashlib.md5(usedforsecurity=False)
        self.failure: OSError | http.client.HTTPException | None = None
        self.unwanted = threading.Event()

    def run(self) -> None:
        """Fetch until the end, a failure, or nobody wants it any more."""
        try:
            request = urllib.request.Request(self.url, headers=AGENT)
            with self.file as file, urllib.request.urlopen(request, timeout=2 * STALLED_SECONDS) as answer:
                self.of = answer.length
                while not self.unwanted.is_set() and (piece := answer.read1(PIECE)):
                    file.write(piece)
                    self.sum.update(piece)
                    self.done += len(piece)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the answer, too
            if not self.unwanted.is_set():
                self.failure = error
