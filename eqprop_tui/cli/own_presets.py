"""`eqprop presets new`, `copy`, `edit` and `delete`: a person's own presets."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from eqprop_core import preset_files
from eqprop_core.presets import Preset, PresetError, load_preset, parse_preset, read_text
from eqprop_core.problems import ConfigError, Problem, flag
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.listing import find_run, summarize
from eqprop_core.shell import command
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import with_flags
from eqprop_tui.cli.report import AsJson

NewName = Annotated[str, typer.Argument(metavar="NAME", help="name of the new preset")]
OwnName = Annotated[str, typer.Argument(metavar="NAME", help="name of a preset of your own")]
Here = Annotated[
    bool, typer.Option("--here", help="keep it in ./eqprop-presets, not in your configuration folder")
]


@with_flags(preset_files.SETTABLE)
def new(
    flags: dict[str, Any],
    preset: NewName,
    base: Annotated[
        str | None, typer.Option("--from", metavar="PRESET", help="start from this preset, or .toml file")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--from-run",
            metavar="RUN",
            help="start from a run's settings (a folder, an id, a name, or last), all but its name, device, "
            "seed and, unless its images are your own, data_dir",
        ),
    ] = None,
    keep_seed: Annotated[bool, typer.Option("--keep-seed", help="with --from-run: the seed too")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help='a setting, as lrs="0.1 0.05"; the flags do the same'
        ),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="put a setting back to its default")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="a line that says what it is")] = "",
    description: Annotated[
        str, typer.Option("--description", help="a paragraph on it \\[what it was made from]")
    ] = "",
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="a tag; the first is the group that it is listed in")
    ] = None,
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Make a preset out of another one, out of a run, or of settings alone."""
    path = preset_files.free_place(preset, here=here)
    changes = _changes(flags, settings or [])
    drop = _known_settings(unset or [])
    if base is not None and run is not None:
        raise ConfigError([Problem("from_run", run, "either --from or --from-run, not both")])
    if keep_seed and run is None:
        raise ConfigError([Problem("keep_seed", None, "goes with --from-run")])
    if twice := [name for name in drop if name in changes]:
        raise ConfigError([Problem("unset", name, "is set as well") for name in twice])
    origin, start = _start(base, run, keep_seed)
    config = preset_files.changed(start, changes, drop)
    made = preset_files.made_from(origin, {name: config[name] for name in changes if name in config}, drop)
    text = preset_files.preset_text(config, title=title, description=description or made, tags=tags or ())
    told(preset_files.write_preset(path, text), as_json)


def copy(
    preset: Annotated[str, typer.Argument(metavar="FROM", help="name of a preset, or a .toml file")],
    name: Annotated[str, typer.Argument(metavar="TO", help="name of the new preset")],
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Copy a preset, a shipped one or your own, to a new name of your own."""
    told(preset_files.copy_preset(load_preset(preset), name, here=here), as_json)


def edit(preset: OwnName) -> None:
    """Edit a preset of your own with $VISUAL or $EDITOR; it changes only once what you wrote is valid."""
    edit_on_terminal(preset, report.say)


def edit_on_terminal(preset: str, say: Callable[[str], None]) -> None:
    """Have a person edit a preset of their own on the terminal, and `say` what came of it.

    Raises `ConfigError` for one that is not theirs, `RunError` where the editor fails, and `typer.Abort`
    where nobody answers.
    """
    path = preset_files.required_own_file(preset, instead=_copy_instead(preset))
    before = read_text(path)
    folder = Path(tempfile.mkdtemp(prefix="eqprop-preset-"))
    draft = folder / path.name
    draft.write_text(before, encoding="utf-8")
    try:
        saved = _edited(draft, path, before)
    except (RunError, typer.Abort, KeyboardInterrupt):
        if draft.is_file() and draft.read_bytes() != before.encode():
            say(f"what you wrote is in {draft}; {path} is as it was")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    say(f"saved {path}" if saved else f"{path} is as it was")


def delete(preset: OwnName, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Delete a preset of your own, after asking; shipped ones are refused."""
    path = preset_files.required_own_file(preset, instead="")
    if not yes:
        report.confirm(f"delete {path}?", abort=True)
    preset_files.delete_file(path)
    report.say(f"deleted {path}")


def told(preset: Preset, as_json: bool) -> None:
    """Print where a preset that has been made is."""
    if as_json:
        report.put_json({"name": preset.name, "path": str(preset.path.absolute())})
    else:
        report.put_path(preset.path)


# --- new ------------------------------------------------------------------------------------------------


def _changes(flags: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Settings given as flags and by --set; the same one given by both is refused."""
    by_set = preset_files.parse_settings(words)
    if twice := [name for name in by_set if name in flags]:
        raise ConfigError([Problem("set", name, f"is given by {flag(name)} as well") for name in twice])
    return {**flags, **by_set}


def _known_settings(words: Sequence[str]) -> list[str]:
    names = [word.removeprefix("--").replace("-", "_") for word in words]
    problems = [
        Problem("unset", word, preset_files.unknown_setting(word))
        for word, name in zip(words, names, strict=True)
        if name not in preset_files.SETTABLE
    ]
    if problems:
        raise ConfigError(problems)
    return names


def _start(base: str | None, run: str | None, keep_seed: bool) -> tuple[str, dict[str, Any]]:
    """What a preset is made from, in words, and its settings."""
    if run is not None:
        folder = find_run(run)
        summary = summarize(folder.path)
        return f"the run {summary.name} ({summary.id})", preset_files.settings_of_run(
            folder, keep_seed=keep_seed
        )
    if base is not None:
        found = load_preset(base)
        return found.name, found.config
    return "", {}


# --- edit -----------------------------------------------------------------------------------------------


def _copy_instead(name: str) -> str:
    return f"; make one of your own: {command('presets', 'copy', name, 'NEW-NAME')}"


def _edited(draft: Path, path: Path, before: str) -> bool:
    """Have `draft` edited until it is valid, and save it as `path`; False where nothing is to be saved."""
    while True:
        _open_editor(draft)
        try:
            text = read_text(draft)
            if text == before:
                return False
            parse_preset(text, path)
        except PresetError as error:
            for line in str(error).splitlines():
                report.say(f"error: {line}")
            if not report.confirm("edit again? (no discards what you wrote)", default=True):
                return False
            continue
        preset_files.write_preset(path, text, before=before)
        return True


def _open_editor(path: Path) -> None:
    """Have a file edited, until the editor ends. Raises `RunError` where it cannot be, or failed."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = [*shlex.split(named), str(path)]
        status = subprocess.run(command, check=False).returncode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"the editor {named!r} cannot be started ({reason}); set EDITOR to one") from None
    if status:
        raise RunError(f"the editor {named!r} ended with status {status}; nothing was changed")
