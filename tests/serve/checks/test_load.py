"""Load: pictures of the mix, clients that wait, arrivals that do not, and how their answers are judged."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections import Counter
from random import Random

import numpy as np
import pytest

from checks import bare
from checks.load import Outcome, arrivals, clients, judge, percentile, statuses
from checks.metrics import Counts
from checks.photographs import Mixture, decoded, mosaic, picture
from checks.reference import MODEL, RUNTIME, difference, known_picture
from checks.terminate import EDGE_S, judged
from checks.throughput import Load
from checks.wire import Answer
from repsr_deploy.imaging.tiling import plan_tiles


def outcome(
    started_s: float = 0.0, seconds: float = 1.0, status: int = 200, sent: bool = True, complaint: str = ""
) -> Outcome:
    """What became of a request that was sent at once, or never."""
    sent_s = started_s if sent else None
    return Outcome(pixels=100, started_s=started_s, seconds=seconds, status=status, sent_s=sent_s, complaint=complaint)


@pytest.mark.parametrize("megapixels", [0.1, 0.37, 1.9])
def test_pictures_have_the_size_that_was_asked_for_and_the_detail_of_photographs(megapixels: float) -> None:
    made = picture(megapixels, Random(2))
    image = decoded(made.data)
    assert image.shape == (made.height, made.width, 3)
    assert made.pixels == pytest.approx(megapixels * 1e6, rel=0.01)
    bytes_per_pixel = len(made.data) / made.pixels
    assert 0.1 < bytes_per_pixel < 1.0
    assert image.std() > 20


def test_a_mosaic_repeats_no_row_and_no_column() -> None:
    image = mosaic(1700, 1100, Random(4))
    assert image.shape == (1100, 1700, 3)
    assert len({row.tobytes() for row in image}) > 1080  # some photographs have a black border
    assert not np.array_equal(image[:, :500], image[:, 1000:1500])


def test_the_deck_keeps_the_mix_in_every_round() -> None:
    mixture = Mixture({0.01: 3, 0.04: 1}, seed=1)
    small = {one.pixels for one in mixture.pictures[0.01]}
    dealt = [one.pixels in small for one in itertools.islice(mixture.deal(), 40)]
    assert all(sum(dealt[start : start + 4]) == 3 for start in range(0, 40, 4))
    assert len({tuple(dealt[start : start + 4]) for start in range(0, 40, 4)}) > 1


def test_clients_wait_for_their_answers_and_finish_what_they_began() -> None:
    under_way = most = 0

    async def ask_one() -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return outcome()

    async def main() -> int:
        async with clients(ask_one, 3) as outcomes:
            await asyncio.sleep(0.1)
        return len(outcomes)

    assert asyncio.run(main()) >= 12
    assert (most, under_way) == (3, 0)


def test_arrivals_wait_for_nobody() -> None:
    async def ask_one() -> Outcome:
        await asyncio.sleep(1.0)
        return outcome()

    async def main() -> tuple[int, float, bool]:
        tasks, rate = await arrivals(ask_one, rate_per_s=200, seconds=0.5, seed=3)
        unanswered = not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)
        return len(tasks), rate, unanswered

    count, rate, unanswered = asyncio.run(main())
    assert 60 < count < 140
    assert 100 < rate < 300
    assert unanswered


def refusal(status: int, retry_after: str | None, cause: str = "overloaded") -> Answer:
    """A refusal of a busy service."""
    body = {"type": f"urn:repsr:problem:{cause}", "title": "No", "status": status, "detail": "Too much to do."}
    headers = {"content-type": "application/problem+json"} | ({"retry-after": retry_after} if retry_after else {})
    return Answer(status=status, headers=headers, body=json.dumps(body).encode(), seconds=0.1)


def test_refusals_say_when_to_come_again() -> None:
    assert judge(refusal(503, "3")) == ""
    for wrong in (refusal(503, None), refusal(503, "0"), refusal(503, "soon"), refusal(500, "3", "internal")):
        assert judge(wrong) != ""
    assert judge(refusal(500, None, "worker-died"), frozenset({500})) == ""
    assert judge(Answer(status=200, headers={"content-type": "image/png"}, body=b"x", seconds=1)) == ""
    assert judge(Answer(status=200, headers={"content-type": "image/png"}, body=b"", seconds=1)) != ""
    assert judge(Answer(status=200, headers={"content-type": "text/html"}, body=b"x", seconds=1)) != ""


def test_percentiles_and_statuses() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert math.isnan(percentile([], 99))
    found = statuses([outcome(), outcome(status=503), outcome(status=0, complaint="reset"), outcome()])
    assert found == {"none": 1, "200": 2, "503": 1}


def test_termination_is_judged_by_when_a_request_was_sent() -> None:
    at = 100.0
    finished, refused = outcome(at - 1, 2), outcome(at + 1, 0.1, 503)
    unreachable = outcome(at + 1, 0.1, 0, sent=False, complaint="ConnectionRefusedError")
    edge = outcome(at - EDGE_S / 2, 1, 503)
    good = [finished, refused, unreachable, edge]

    def failed(*more: Outcome) -> set[str]:
        return {one.what.split()[0] for one in judged([*good, *more], at) if not one.passed}

    assert failed() == set()
    assert failed(outcome(at - 1, 2, 503)) == {"accepted"}
    assert failed(outcome(at - 1, 2, 0, complaint="the connection was closed without one")) == {"accepted"}
    assert failed(outcome(at + 1, 1)) == {"new"}
    assert failed(outcome(at + 0.1, 1, 0, complaint="the connection was closed within an answer")) == {"answers"}
    assert {one.what.split()[0] for one in judged([refused], at) if not one.passed} == {"accepted", "some"}


def test_the_reference_sees_one_wrong_pixel() -> None:
    import cv2

    _, expected = known_picture(61, 47)
    assert expected.shape == (94, 122, 3)
    for wrong in (0, 1):
        image = expected.copy()
        image[10, 20, 1] ^= wrong
        png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        answer = Answer(status=200, headers={}, body=png, seconds=0)
        assert difference(answer, expected).startswith("1 pixels" if wrong else "") is True
        assert bool(difference(answer, expected)) is bool(wrong)
    assert "shape" in difference(answer, expected[1:])
    assert "no picture" in difference(Answer(status=200, headers={}, body=b"x", seconds=0), expected)


def test_counts_are_sums_over_labels() -> None:
    text = (
        "# TYPE repsr_serve_pixels counter\n"
        'repsr_serve_pixels_total{model="a"} 5\nrepsr_serve_pixels_total{model="b"} 7\n'
        '# TYPE repsr_serve_batch_fill_ratio histogram\nrepsr_serve_batch_fill_ratio_count{model="a"} 4\n'
        'repsr_serve_batch_fill_ratio_sum{model="a"} 3.5\n'
    )
    before, after = Counts(""), Counts(text)
    load = Load()
    load.add(before, after, 2.0)
    load.add(after, after, 1.0)
    assert (load.pace.pixels, load.pace.batches, load.fill, load.pace.seconds) == (12, 4, 3.5, 3.0)
    assert load.pace.megapixels_per_s == pytest.approx(4e-6)


def test_the_bare_loop_runs_the_tiles_of_the_plan() -> None:
    sent = picture(0.25, Random(1))
    loop = bare.BareLoop(MODEL, RUNTIME, 1, [sent])
    pace = bare.Pace()
    loop.run(0.0, pace)
    assert pace.pixels == 0
    loop.run(1e-6, pace)
    halo = loop.runtime.info.halo
    assert halo is not None
    tiles = plan_tiles(sent.height, sent.width, tile=320, halo=halo)
    assert pace.batches == len(tiles)
    assert pace.pixels == sum(tile.source.pixels for tile in tiles)
    assert Counter({"seconds": pace.seconds > 0})["seconds"]
