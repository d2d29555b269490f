"""`eqprop sweep NAME…` and `eqprop sweep resume`: making the plan of a sweep and having its runs started."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from eqprop_core.config import RunConfig, settings_of
from eqprop_core.devices import list_devices
from eqprop_core.estimate import estimate, measured_as, recall
from eqprop_core.problems import ConfigError, Problem, shown
from eqprop_core.runs.roots import results_root
from eqprop_core.runs.starting import check_sizes
from eqprop_core.sweeps import slurm, trust
from eqprop_core.sweeps.folder import SweepFolder, find_sweep
from eqprop_core.sweeps.local import places_of, refuse_patterns
from eqprop_core.sweeps.making import Wanted, configurations, grid_of, make_sweep
from eqprop_core.sweeps.plan import SweepPlan
from eqprop_core.sweeps.process import is_launched, own, start_launcher
from eqprop_core.sweeps.searching import FLATTERS, plan_of_search, require, search_of, with_trials
from eqprop_core.sweeps.settings import LaunchSettings, launch_settings, sbatch_words
from eqprop_core.sweeps.space import SearchSettings
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import ListCommand, with_flags
from eqprop_tui.cli.report import AsJson
from eqprop_tui.cli.sweep_search import AtOnce, Prune, SearchWords, Trials, end_search, search_settings
from eqprop_tui.cli.sweep_watch import end, watch
from eqprop_tui.cli.work import fetch_if_absent
from eqprop_tui.words import duration

HERE, SLURM = "On this machine (--launcher local)", "On a cluster (--launcher slurm)"
SEEDS = re.compile(r"[\d,-]+")

Sweep = Annotated[str, typer.Argument(metavar="SWEEP", help="a folder, a name, or last")]
Launcher = Annotated[
    str | None, typer.Option("--launcher", metavar="local|slurm", help="what starts the runs \\[local]")
]
Detach = Annotated[bool, typer.Option("--detach", help="print the sweep's folder and return; do not watch")]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="minutes, H:MM:SS or D-HH:MM:SS, after which a run is saved and queued again "
        r"\[local: never, slurm: 60]",
    ),
]
Grace = Annotated[
    int | None,
    typer.Option("--grace", metavar="SECONDS", help=r"time between being told to save and that end \[90]"),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", metavar="N", help=r"runs at a time on each device \[1, in line with others there]",
        rich_help_panel=HERE,
    ),
]  # fmt: skip
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices", metavar="DEVICE,…", help=r"devices to spread the runs over \[--device]",
        rich_help_panel=HERE,
    ),
]  # fmt: skip


def _on_cluster(name: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=SLURM)


Partition = Annotated[str | None, _on_cluster("--partition", "NAME", "partition")]
Gpus = Annotated[int | None, _on_cluster("--gpus", "1", "GPUs of a run: 1, or 0 for a run on the CPU")]
Cpus = Annotated[int | None, _on_cluster("--cpus", "N", "CPU cores of a run")]
Mem = Annotated[str | None, _on_cluster("--mem", "16G", "memory of a run")]
Account = Annotated[str | None, _on_cluster("--account", "NAME", "account")]
Qos = Annotated[str | None, _on_cluster("--qos", "NAME", "quality of service")]
Constraint = Annotated[str | None, _on_cluster("--constraint", "WORDS", "features that nodes must have")]
Sbatch = Annotated[
    list[str] | None,
    _on_cluster("--sbatch", "NAME=VALUE", "any other parameter of sbatch; may be repeated"),
]
Setup = Annotated[
    list[str] | None, _on_cluster("--setup", "COMMAND", "shell command before a run; may be repeated")
]


class SweepCommand(ListCommand):
    """A command whose `--seeds` takes words separated by spaces, too: `--seeds 0 1 2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the words of --seeds, then those of lists, then parse as usual."""
        words: list[str] = []
        joining = False
        for word in args:
            if joining and SEEDS.fullmatch(word):
                words[-1] = f"{words[-1]} {word}" if "=" in words[-1] else f"{words[-1]}={word}"
                continue
            joining = word.partition("=")[0] == "--seeds"
            words.append(word)
        return super().parse_args(ctx, words)


@with_flags(settings_of("sweep"))
def start(
    flags: dict[str, Any],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="a preset, several, or a sweep; or .toml files of them"),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="0-4", help=r"seeds: 0-4, 0,2,5 or 0 1 2 \[the sweep's, or 0]"),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="SETTING=VALUE,…",
            help='values of a setting, multiplied with all others; may be repeated: betas="0 0.1,0 0.5"',
        ),
    ] = None,
    search: SearchWords = None,
    trials: Trials = None,
    at_once: AtOnce = None,
    prune: Prune = None,
    name: Annotated[str | None, typer.Option("--name", help="a name for the sweep")] = None,
    launcher: Launcher = None,
    detach: Detach = False,
    as_json: AsJson = False,
    time: Time = None,
    grace: Grace = None,
    jobs: Jobs = None,
    devices: Devices = None,
    partition: Partition = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    mem: Mem = None,
    account: Account = None,
    qos: Qos = None,
    constraint: Constraint = None,
    sbatch: Sbatch = None,
    setup: Setup = None,
) -> None:
    """Start a run of each cell and seed: of presets, of a sweep by its name, and of a grid over them.

    Flags of train are settings for all cells.
    """
    values = dict(locals())
    dry, results = flags.pop("dry_run", False), flags.pop("results", None)
    wanted = Wanted(names or [], flags, grid_of(grid or []), seeds, name)
    plan = make_sweep(wanted)
    searched = search_settings(search, trials, at_once, prune, grid, flags)
    if searched is not None:
        plan = plan_of_search(plan, searched)
    settings = launch_settings(_typed(values))
    configs = configurations(plan)
    for config in configs:
        check_sizes(config)
    for said in dict.fromkeys(said for config in configs for said in report.cautions_of(config)):
        report.say(f"warning: {said}")
    if searched is not None and not configs[0].val_split:
        report.say(f"warning: {FLATTERS}")
    if dry:
        show_plan(plan, configs, settings, as_json=as_json, searched=searched)
        return
    _refuse_absent(plan, settings, results_root(results))
    for config in {(config.task, config.data_root): config for config in configs}.values():
        fetch_if_absent(config)
    sweep = SweepFolder.create(
        results_root(results),
        plan,
        command=("eqprop", *sys.argv[1:]),
        launcher=settings.model_dump(mode="json", exclude_unset=True),
        search=searched.model_dump(mode="json") if searched is not None else None,
    )
    trust.note(sweep)
    _launch(sweep, settings, detach=detach, as_json=as_json)


def resume(
    which: Sweep = "last",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="start runs that failed again, too")
    ] = False,
    trials: Trials = None,
    trusted: Annotated[
        bool, typer.Option("--trust", help="run what the folder of another user, or a copied one, has to run")
    ] = False,
    launcher: Launcher = None,
    detach: Detach = False,
    as_json: AsJson = False,
    time: Time = None,
    grace: Grace = None,
    jobs: Jobs = None,
    devices: Devices = None,
    partition: Partition = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    mem: Mem = None,
    account: Account = None,
    qos: Qos = None,
    constraint: Constraint = None,
    sbatch: Sbatch = None,
    setup: Setup = None,
) -> None:
    """Go on with a sweep: what was not begun, stopped or lost; with --retry-failed what failed, too.

    Finished runs stay, and those that go on are left alone. Options stand in for those that it was made with.
    """
    values = dict(locals())
    sweep = find_sweep(which)
    _refuse_unknown(sweep, _typed(values), trusted=trusted)
    if search_of(sweep) is not None:
        require()
        if retry_failed:
            message = "does not go with a search, which does not choose a trial that failed again"
            raise ConfigError([Problem("retry_failed", None, message)])
    if trials is not None and not is_launched(sweep):
        sweep = with_trials(sweep, trials)
    settings = launch_settings(_typed(values), sweep.launcher)
    if (sweep.launcher.get("launcher") or "local") != settings.launcher:
        raise ConfigError([Problem("launcher", settings.launcher, "is not what this sweep was started with")])
    _refuse_absent(sweep.plan, settings, sweep.path)
    _launch(sweep, settings, retry_failed=retry_failed, detach=detach, as_json=as_json)


def _refuse_unknown(sweep: SweepFolder, given: Mapping[str, Any], *, trusted: bool) -> None:
    """Show what a sweep would run that this user has not chosen for it, and ask; raises if it may not."""
    unknown = trust.unknown(sweep, given)
    if unknown and not trusted:
        report.say("not chosen by you, here, for this sweep:")
        for line in unknown:
            report.say(f"  {line}")
        if not sys.stdin.isatty():
            message = "is needed to go on with it as it is; --setup and --sbatch stand in for such lines"
            raise ConfigError([Problem("trust", None, message)])
        report.confirm("go on with it?", abort=True)
    if unknown or trusted:
        trust.note(sweep)


def _launch(
    sweep: SweepFolder,
    settings: LaunchSettings,
    *,
    retry_failed: bool = False,
    detach: bool,
    as_json: bool,
) -> None:
    """Have the runs of a sweep started, and watch them unless it is to be left."""
    report.say(f"{sweep.path}")
    if settings.launcher == "slurm" and sweep.search is None:
        with own(sweep, None):  # two that submit at once would submit runs twice
            slurm.submit_all(sweep, settings, retry_failed=retry_failed, say=report.say)
    else:
        for said in start_launcher(sweep, settings, retry_failed=retry_failed):
            report.say(f"warning: {said}")
    if not detach:
        (end if sweep.search is None else end_search)(sweep, watch(sweep), as_json=as_json)
    elif as_json:
        report.put_json({"folder": str(sweep.path), "name": sweep.name, "launched": is_launched(sweep)})
    else:
        report.put_path(sweep.path)


def _refuse_absent(plan: SweepPlan, settings: LaunchSettings, results: Path) -> None:
    """Raise for devices that are not here, and where no jobs can be started or write their logs."""
    if settings.launcher == "slurm":
        slurm.require(results)
        return
    refuse_patterns(results)
    for warning in places_of(plan, settings)[1]:
        report.say(f"warning: {warning}")


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the launcher that were typed."""
    given = {
        name: values[name]
        for name in LaunchSettings.model_fields
        if name in values and values[name] is not None and name not in ("devices", "sbatch", "setup")
    }
    if values["devices"] is not None:
        given["devices"] = tuple(re.split(r"[\s,]+", values["devices"].strip(" ,")))
    if values["sbatch"]:
        given["sbatch"] = sbatch_words(values["sbatch"])
    if values["setup"]:
        given["setup"] = tuple(values["setup"])
    return given


# --- what would be done -------------------------------------------------------------------------------


def show_plan(
    plan: SweepPlan,
    configs: list[RunConfig],
    settings: LaunchSettings,
    *,
    as_json: bool = False,
    searched: SearchSettings | None = None,
) -> None:
    """Print the cells with their settings, how many runs they make, and how long these take if known."""
    seconds = _seconds(configs, len(plan.seeds))
    if searched is not None and seconds is not None:
        seconds *= searched.trials
    runs = (len(plan.cells) if searched is None else searched.trials) * len(plan.seeds)
    if as_json:
        document = plan.model_dump(mode="json", exclude={"bases"})
        if searched is not None:
            document["search"] = searched.model_dump(mode="json")
        report.put_json(
            {**document, "runs": runs, "seconds": seconds, "launcher": settings.model_dump(mode="json")}
        )
        return
    out = report.console()
    out.print(plan.title, style="bold")
    if plan.description:
        out.print(plan.description)
    out.print()
    table = report.plain_table()
    for heading in ("cell", "preset", "settings over it"):
        table.add_column(heading, overflow="fold")
    for cell in plan.cells:
        from rich.text import Text

        told = ", ".join(f"{name} {shown(value)}" for name, value in cell.settings.items())
        table.add_row(Text(cell.name), Text(cell.preset or "–"), Text(told or "–"))
    out.print(table)
    out.print()
    cells = _count(len(plan.cells), "cell")
    if searched is not None:
        space = ", ".join(map(str, searched.space))
        out.print(f"and {searched.trials - 1} trials more, chosen from {space}")
        cells = _count(searched.trials, "trial")
    out.print(f"{cells} × {_count(len(plan.seeds), 'seed')} = {_count(runs, 'run')}")
    if seconds is None:
        out.print("how long they take is not known; eqprop bench measures it")
    else:
        out.print(f"about {duration(seconds)} here, one after the other, by what was measured")


def _seconds(configs: list[RunConfig], seeds: int) -> float | None:
    """Time that all runs take one after the other; None where that of one was not measured."""
    devices = list_devices()
    found = []
    for config in configs:
        measured = recall(measured_as(config, devices))
        found.append(estimate(config, measured) if measured is not None else None)
    return None if None in found else seeds * sum(one.run for one in found if one is not None)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


start.command_class = SweepCommand  # type: ignore[attr-defined]
