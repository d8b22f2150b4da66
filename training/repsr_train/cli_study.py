"""`repsr-train study`: parse, call, print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from repsr_deploy.errors import UsageError
from repsr_train.study.catalogue import STUDIES, study_named

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

_LISTED = "; ".join(f"{study.name} ({study.title}, {study.steps} steps)" for study in STUDIES.values())


@app.command(epilog=f"Studies: {_LISTED}.")
def study(
    name: Annotated[str, typer.Argument(help=f"Study: {', '.join(STUDIES)}.")],
    data: Annotated[
        list[Path], typer.Option(help="Folder of photographs or, faster, prepared store to train on; repeatable.")
    ],
    test: Annotated[
        list[str], typer.Option(metavar="DIR[=NAME]", help="Folder of reference pictures to test on; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for NAME.json, NAME.md, NAME.png and the training runs.")],
    val: Annotated[
        list[Path] | None, typer.Option(help="Photographs for the validation curves, never trained on; repeatable.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of each run; default: the study's.", min=1)] = None,
    seeds: Annotated[str, typer.Option(help="Whole numbers; every variant is trained with each.")] = "0,1,2",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of all recipes: batch=32, ...; repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time; more than one distorts training times.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads of each run.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
) -> None:
    """Train every variant of a study with every seed at an equal budget of steps, and judge its claims.

    Writes all numbers (NAME.json), a report (NAME.md) and plots (NAME.png). Each run is an ordinary repsr-train run in
    OUT/runs; what is finished is kept, and after Ctrl-C or a kill the same command continues.

    Example: repsr-train study blocks --data store --val photos/val --test photos/set5=Set5 --out studies/blocks
    """
    chosen = study_named(name)
    tests = dict(_named_folder(text) for text in test)
    # threads that wait actively make a machine with anything else to do ten times slower; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from repsr_train.study.study import Request, run_study

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    request = Request(
        study=chosen,
        data=data,
        tests=tests,
        out=out,
        validation=val or (),
        steps=steps or chosen.steps,
        seeds=_seeds(seeds),
        settings=tuple(assignments or ()),
        jobs=jobs,
        threads=threads,
        device=device,
    )
    result = run_study(request, lambda line: console.print(line, markup=False))
    for judgement in result.judgements:
        console.print(f"{judgement.claim.text}: {judgement.verdict}", markup=False)
    console.print(f"wrote {out / f'{name}.md'}, .json and .png", markup=False)


def _named_folder(text: str) -> tuple[str, Path]:
    folder, _, name = text.partition("=")
    return name or Path(folder).name, Path(folder)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError as error:
        raise UsageError(f"--seeds is {text!r}; expected whole numbers such as 0,1,2") from error
