"""The report says what the numbers say."""

from __future__ import annotations

from pathlib import Path

from repsr_train.study.report import markdown
from tests.training.study.studies import result_of

PSNR = {"plain": (31.10, 31.20, 31.30), "never": (31.60, 31.70, 31.80)}
FLAT = {"plain": (0.10, 0.11, 0.12), "never": (0.50, 0.51, 0.52)}


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_tables_show_mean_spread_size_and_time(tmp_path: Path) -> None:
    text = markdown(result_of(PSNR, FLAT, tmp_path), ["small.png"])
    tables = lines_of(text, "| Plain")
    assert tables[0] == "| Plain | 31.200 ± 0.100 | 32.200 ± 0.100 |"
    assert tables[1] == "| Plain | 0.1100 ± 0.0100 | - |"  # set B has no flat regions
    assert tables[-1] == "| Plain | 1,234 | 1,234 | 1.00 ± 0.00 | 0 |"
    assert lines_of(text, "| RepSR, never")[-1] == "| RepSR, never | 2,468 | 1,234 | 2.00 ± 0.00 | 3 |"
    assert lines_of(text, "| bicubic")[0] == "| bicubic | 30.000 | 31.000 |"
    assert "4 steps of 2 crops of 8x8 LR pixels with each of 3 seed(s) (0, 1, 2)" in text
    assert "![small.png](small.png)" in text


def test_claims_are_judged_by_the_numbers_and_fewer_errors_are_better(tmp_path: Path) -> None:
    better, flatter = lines_of(markdown(result_of(PSNR, FLAT, tmp_path), []), "- ")
    assert better.startswith("- **RepSR is better: holds.** A: +0.500 dB, 2 standard errors 0.163, holds; B: +0.500 dB")
    assert flatter == (
        "- **RepSR is flatter: does not hold.** A: +0.4000 levels of 255, 2 standard errors 0.0163, does not hold"
    )


def test_swapped_numbers_swap_the_verdicts(tmp_path: Path) -> None:
    swapped = [{"plain": table["never"], "never": table["plain"]} for table in (PSNR, FLAT)]
    better, flatter = lines_of(markdown(result_of(swapped[0], swapped[1], tmp_path), []), "- ")
    assert better.startswith("- **RepSR is better: does not hold.** A: -0.500 dB")
    assert flatter.startswith("- **RepSR is flatter: holds.** A: -0.4000 levels of 255")


def test_one_seed_is_undecided_and_shows_no_spread(tmp_path: Path) -> None:
    single = [{name: values[:1] for name, values in table.items()} for table in (PSNR, FLAT)]
    text = markdown(result_of(single[0], single[1], tmp_path), [])
    assert lines_of(text, "| Plain")[0] == "| Plain | 31.100 | 32.100 |"
    assert lines_of(text, "- ")[0].startswith("- **RepSR is better: undecided.** A: +0.500 dB, one seed, undecided")
