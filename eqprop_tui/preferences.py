"""What the application remembers of a person's choices, in one file of the user's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from eqprop_core.files import read_json, write_text
from eqprop_core.locks import changing

Theme = Literal["dark", "light", "16"]


class Preferences(BaseModel):
    """A person's choices; each has a default, and what a file has wrong takes that."""

    model_config = ConfigDict(extra="ignore", validate_assignment=True)
    theme: Theme = "dark"
    bell: bool = False
    seen: bool = False  # whether the application was started before
    glyphs: Literal["auto", "braille", "blocks", "ascii"] = "auto"


def preferences_file() -> Path:
    """Where they are kept."""
    return platformdirs.user_config_path("eqprop") / "application.json"


def load_preferences() -> Preferences:
    """The stored choices; a default for each that is missing or wrong. Raises nothing."""
    stored: dict[str, Any] = read_json(preferences_file())
    good: dict[str, Any] = {}
    for name, value in stored.items():
        try:
            Preferences.model_validate({name: value})
        except ValidationError:
            continue
        good[name] = value
    return Preferences.model_validate(good)


def save_preferences(**choices: object) -> bool:
    """Write these choices down, beside those that are stored; whether that was possible.

    Another application may have stored others since this one began.
    """
    path = preferences_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with changing(path):
            write_text(path, json.dumps({**read_json(path), **choices}, indent=2) + "\n")
    except OSError:
        return False
    return True
