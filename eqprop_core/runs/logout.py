"""Systems that end a user's processes at log-out (logind's KillUserProcesses), and runs that outlive it."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Sequence

SECONDS = 3.0


def outliving(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line `words` such that it outlives the log-out, and what the person should know.

    Where the system ends processes at log-out, the command goes into a scope of the user's own service
    manager, which stays if lingering is on.
    """
    if not _ends_processes():
        return list(words), []
    enable = f"loginctl enable-linger {user()}"
    if _answer("loginctl", "show-user", user(), "--property=Linger", "--value") != "yes":
        return list(words), [
            f"this system ends your processes when you log out, this run's too; `{enable}` keeps them"
        ]
    program = shutil.which("systemd-run")
    if program is None:
        return list(words), ["this system ends your processes when you log out, and systemd-run is not here"]
    return [program, "--user", "--scope", "--quiet", "--collect", "--", *words], []


def _ends_processes() -> bool:
    """Whether logind ends the processes of this session when it closes."""
    if not os.environ.get("XDG_SESSION_ID"):
        return False  # not a session of logind's
    return (
        _answer(
            "busctl",
            "get-property",
            "org.freedesktop.login1",
            "/org/freedesktop/login1",
            "org.freedesktop.login1.Manager",
            "KillUserProcesses",
        )
        == "b true"
    )


def user() -> str:
    """The name of the person whose process this is, or the number of one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _answer(*words: str) -> str | None:
    """What a command prints; None where it is not there, fails or does not come back."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
