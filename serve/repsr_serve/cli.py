"""`repsr-serve`: settings from flags and environment, then the server."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from repsr_deploy.cli.errors import log_to_stderr, run
from repsr_deploy.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from repsr_serve.settings import Settings

NAME = "repsr-serve"
HELP = """Serve super-resolution over HTTP.

\b
repsr-serve                                          the bundled models, on this machine only
repsr-serve --model my.onnx --host 0.0.0.0 --api-key-file keys
curl --data-binary @photo.jpg http://localhost:8000/v1/upscale -o large.png

Tiles of all requests share batches; a result is the same picture that repsr-upscale makes. The web page is at /, the
description of all requests at /openapi.json, metrics at /metrics, health at /healthz and /readyz.

Every option can also be given in the environment: --max-pixels as REPSR_SERVE_MAX_PIXELS. SIGTERM or Ctrl-C ends the
service when the requests under way are answered, within --grace; a second one ends it at once.
"""
_ANY = "TEXT"
_METAVARS = {int: "INTEGER", float: "NUMBER", Path: "PATH"}


class _Command(typer.Typer):
    """Gets its options from `Settings` when it runs, so that a package that is missing is one of its errors."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.registered_commands:
            self.command(help=HELP)(_with_options(_serve))
        return super().__call__(*args, **kwargs)


app = _Command(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run(app, NAME, args)


def _serve(**given: Any) -> int:
    """What is behind the options: those that were given, as text, by the names of the settings."""
    settings = read_settings({name: value for name, value in given.items() if value not in (None, [])})
    log_to_stderr(NAME, logging.INFO if settings.access_log else logging.WARNING)
    from repsr_serve.server import serve

    serve(settings, announce=lambda line: print(f"{NAME}: {line}", flush=True))  # noqa: T201
    return 0


def read_settings(given: dict[str, Any]) -> Settings:
    """Settings from what was given, before the environment, before the defaults.

    Raises:
        UsageError: values that cannot be, each with the flag or variable that it came from; an unknown variable.
    """
    from pydantic import ValidationError

    from repsr_serve.settings import PREFIX, Settings
    from repsr_serve.validation import finding

    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            close = get_close_matches(variable, known, 1)
            meant = f"; did you mean {close[0]}?" if close else f"; see `{NAME} --help`"
            raise UsageError(f"environment variable {variable} is no setting{meant}")
    try:
        return Settings(**given)
    except ValidationError as error:
        findings: list[str] = []
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            source = _flag(name) if name in given else f"{PREFIX}{name.upper()} ({_flag(name)})"
            findings.append(f"{source} {finding(detail)}")
        raise UsageError("; ".join(findings)) from error


def _with_options(function: Callable[..., int]) -> Callable[..., int]:
    """A function that typer reads as one with an option for every setting."""
    from repsr_serve.settings import Settings

    def command(**given: Any) -> int:
        return function(**given)

    parameters = [_option(name, field) for name, field in Settings.model_fields.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] - read by inspect.signature
    return command


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    default = field.get_default(call_default_factory=True)
    is_list, is_switch = isinstance(default, tuple), isinstance(default, bool)
    shown = {True: "on", False: "off"}[default] if is_switch else ", ".join(default) if is_list else default
    option = typer.Option(
        f"{_flag(name)}/--no-{_flag(name)[2:]}" if is_switch else _flag(name),
        help=field.description if default is None else f"{field.description}  [default: {shown}]",
        metavar=None if is_switch else _metavar(field.annotation),
        show_default=False,
    )
    kind = list[str] if is_list else bool if is_switch else str
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _metavar(annotation: Any) -> str:
    """A word for a type; for the first that it is made of that has one."""
    if annotation in _METAVARS:
        return _METAVARS[annotation]
    choices = get_args(annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return next((word for choice in choices if (word := _metavar(choice)) != _ANY), _ANY)
