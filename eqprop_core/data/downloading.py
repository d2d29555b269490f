"""One file from one address: told how far it is, given up where nothing comes, left at once when asked to.

By https alone, no further than the published size, and taken only if its SHA-256 is the published one. A
thread of its own waits for the network, so that who asked for the file can always be interrupted, also while
a name is looked up or a server is silent.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from eqprop_core.published import Download

SCHEMES = ("https",)
STALLED_SECONDS = 20.0  # in which hardly a byte has come
HARDLY = 1000  # bytes
SECONDS_BETWEEN_LOOKS = 0.25
PIECE = 2**16  # bytes
AGENT = {"User-Agent": "eqprop"}
Told = Callable[[int, int | None], object]  # bytes that have come, and of how many if that is known


def download(wanted: Download, target: Path, told: Told) -> None:
    """Write what an address serves to `target`, telling again and again how much has come; `told` may raise.

    Raises `OSError` or `http.client.HTTPException` where it does not come, `RuntimeError` where it is not
    what was published.
    """
    url = wanted.url
    fetching = _Fetching(wanted, target)
    fetching.start()
    silent, before = 0.0, 0
    try:
        while fetching.is_alive():
            told(min(fetching.done, wanted.size), wanted.size)
            fetching.join(SECONDS_BETWEEN_LOOKS)
            if fetching.done - before >= HARDLY:
                silent, before = 0.0, fetching.done
            silent += SECONDS_BETWEEN_LOOKS
            if silent > STALLED_SECONDS:
                came = "hardly anything" if fetching.done else "nothing"
                raise TimeoutError(f"{came} has come from {url} for {STALLED_SECONDS:.0f} s")
    finally:
        fetching.unwanted.set()
    told(min(fetching.done, wanted.size), wanted.size)
    if fetching.failure is not None:
        raise fetching.failure
    if fetching.done > wanted.size:
        raise RuntimeError(f"{url} serves more than the {wanted.size:,} bytes of the published file")
    if fetching.done < wanted.size:
        raise OSError(f"{url} broke off after {fetching.done:,} of {wanted.size:,} bytes")
    if fetching.sum.hexdigest() != wanted.sha256:
        raise RuntimeError(f"what {url} serves has another SHA-256 than the published file")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to another address only where that is as safe as the first."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            _refuse_unsafe(newurl, f"{req.full_url} leads to {newurl}")
        except OSError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(url: str) -> http.client.HTTPResponse:
    _refuse_unsafe(url, url)
    request = urllib.request.Request(url, headers=AGENT)
    answer: http.client.HTTPResponse = urllib.request.build_opener(_SafeRedirects).open(
        request, timeout=2 * STALLED_SECONDS
    )
    return answer


def _refuse_unsafe(url: str, named: str) -> None:
    if urlsplit(url).scheme not in SCHEMES:
        raise OSError(f"{named}, which is not {' or '.join(SCHEMES)}")


class _Fetching(threading.Thread):
    """The thread that waits for the network; `failure` is what went wrong."""

    def __init__(self, wanted: Download, target: Path) -> None:
        super().__init__(name=f"fetch {wanted.url}", daemon=True)
        self.wanted = wanted
        self.file = target.open("wb")  # here: a folder that is being removed gets no new file
        self.done = 0
        self.sum = hashlib.sha256()
        self.failure: OSError | http.client.HTTPException | None = None
        self.unwanted = threading.Event()

    def run(self) -> None:
        """Fetch until the end, a failure, more than there should be, or nobody wants it any more."""
        url = self.wanted.url
        try:
            with self.file as file, _opened(url) as answer:
                while not self.unwanted.is_set() and (piece := answer.read1(PIECE)):
                    self.done += len(piece)
                    if self.done > self.wanted.size:
                        break
                    file.write(piece)
                    self.sum.update(piece)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the answer, too
            if not self.unwanted.is_set():
                self.failure = OSError(str(error)) if isinstance(error, ValueError) else error
