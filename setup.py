"""Builds the processor engine's library into wheels and editable installations; everything else is in pyproject.toml.

Where there is no C++ compiler, or it fails, the installation has no engine: other runtimes do its work. The environment
variable REPSR_ENGINE changes that: `require` makes it an error, `no` leaves the engine out.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.errors import SetupError

ROOT = Path(__file__).parent
CPU = Path("repsr_kernels", "cpu")


def load_alone(path: Path) -> ModuleType:
    """A module of the package: what the package itself imports is not installed where wheels are built."""
    spec = importlib.util.spec_from_file_location(f"repsr_setup_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look theirs up
    spec.loader.exec_module(module)
    return module


engine = load_alone(ROOT / "kernels" / CPU / "build.py")


class Project(Distribution):
    """Says of itself whether it has a library inside, which decides about folders and names of wheels."""

    has_engine = False

    def has_ext_modules(self) -> bool:
        return self.has_engine


class BuildEngine(Command):
    """Puts the library among what is installed; in editable installations beside the sources."""

    description = "compile the processor engine"
    user_options: list[tuple[str, str, str]] = []  # noqa: RUF012 - setuptools' own declaration
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_lib = ""

    def finalize_options(self) -> None:
        self.build_lib = self.get_finalized_command("build_py").build_lib

    def run(self) -> None:
        wanted = os.environ.get("REPSR_ENGINE", "")
        if wanted not in {"", "require", "no"}:
            raise SetupError(f"REPSR_ENGINE is {wanted!r}; expected require, no, or nothing")
        library = engine.LIBRARY if self.editable_mode else Path(self._installed())
        library.parent.mkdir(parents=True, exist_ok=True)
        try:
            if wanted == "no":
                library.unlink(missing_ok=True)  # of an earlier build
            elif not self._is_current(engine.LIBRARY):
                library.unlink(missing_ok=True)
                engine.build(library, said=self.announce_progress)
            elif library != engine.LIBRARY:
                shutil.copy2(engine.LIBRARY, library)
        except engine.BuildError as error:
            told = "\n".join([str(error), *getattr(error, "__notes__", ())])
            if wanted == "require":
                raise SetupError(f"REPSR_ENGINE=require, but {told}") from error
            self.warn(f"installing without the processor engine, other runtimes do its work: {told}")
        self.distribution.has_engine = library.exists()

    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in (Path(engine.__file__), *sorted(engine.CSRC.iterdir()))]

    def get_outputs(self) -> list[str]:
        return [self._installed()] if self.distribution.has_engine else []

    def get_output_mapping(self) -> dict[str, str]:
        return dict.fromkeys(self.get_outputs(), str(engine.LIBRARY.relative_to(ROOT))) if self.editable_mode else {}

    def announce_progress(self, line: str) -> None:
        self.announce(line, level=logging.INFO)

    def _installed(self) -> str:
        return str(Path(self.build_lib) / CPU / engine.LIBRARY.name)

    def _is_current(self, library: Path) -> bool:
        """Whether a library that lies among the sources was made of them."""
        try:
            return library.exists() and engine.load(library)[1] == engine.sources_digest()
        except engine.BuildError:
            return False


class Build(build):
    sub_commands = [*build.sub_commands, ("build_engine", None)]  # noqa: RUF012 - as above


class Wheel(bdist_wheel):
    """For any Python 3 of a platform where it has the library, for any platform where it has not."""

    def run(self) -> None:
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


setup(distclass=Project, cmdclass={"build": Build, "build_engine": BuildEngine, "bdist_wheel": Wheel})
