"""Families of requests that break HTTP itself: heads, lengths, chunks, pace, and clients that leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random

from checks.hostile.case import Case
from checks.hostile.files import MAX_BYTES, honest
from checks.photographs import jpeg, mosaic
from checks.wire import post

UPSCALE = b"POST /v1/upscale HTTP/1.1\r\nHost: loopback\r\n"
CHUNKED = UPSCALE + b"Transfer-Encoding: chunked\r\n\r\n"
HUGE = 80_000
"""Bytes: more than any server takes as one header."""
READ_TIMEOUT_S = 1.0
"""What the service under attack is told to wait for a byte of a body (`--read-timeout`)."""
HEAD_TIMEOUT_S = 10.0
"""What it waits for a whole head."""
TOO_SLOW = frozenset({408})


def _raw(name: str, data: bytes, **about: object) -> Case:
    return Case(name=name, pieces=[data], **about)  # type: ignore[arg-type]


def heads(random: Random) -> Case:
    """A head that is none."""
    letters = bytes(random.choices(range(33, 127), k=random.randrange(1, 60)))
    get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
    kinds: Mapping[str, bytes] = {
        "no words": letters + b"\r\n\r\n",
        "http 0.9": b"GET /\r\n\r\n",
        "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "http 9": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(60) + b"\r\n\r\n",
        "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        "two hosts": get + b"Host: b\r\n\r\n",
        "nul": get + b"X: a\0b\r\n\r\n",
        "control": get + b"X: a\x01\x7f\x1b[31m\r\n\r\n",
        "space before colon": get + b"X : a\r\n\r\n",
        "no colon": get + b"X\r\n\r\n",
        "no name": get + b": a\r\n\r\n",
        "strange name": get + b"X(\xff): a\r\n\r\n",
        "spaces in target": b"GET /v1/models and more HTTP/1.1\r\nHost: a\r\n\r\n",
        "control in target": b"GET /v1/mo\x01dels HTTP/1.1\r\nHost: a\r\n\r\n",
        "lower case": b"get /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
        "made-up method": letters.replace(b" ", b"")[:9] + b"% /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    }
    name = random.choice([*kinds])
    return _raw(f"head/{name}", kinds[name], may_succeed=name == "control")  # RFC 9110, 5.5: it may be taken as it is


def large_heads(random: Random) -> Case:
    """Headers without end."""
    get = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n"
    kinds: Mapping[str, Callable[[], bytes]] = {
        "one header": lambda: get + b"X: " + b"a" * HUGE + b"\r\n\r\n",
        "one name": lambda: get + b"X" * HUGE + b": a\r\n\r\n",
        "many headers": lambda: get + b"".join(b"X-%d: a\r\n" % index for index in range(10_000)) + b"\r\n",
        "same header": lambda: get + b"Accept: image/png\r\n" * 5000 + b"\r\n",
        "cookie": lambda: get + b"Cookie: " + b"a=b; " * 20_000 + b"\r\n\r\n",
        "target": lambda: b"GET /" + b"a" * HUGE + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        "query": lambda: b"GET /v1/models?" + b"a=b&" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        "method": lambda: b"A" * HUGE + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    }
    name = random.choice([*kinds])
    return _raw(f"large head/{name}", kinds[name]())


def body_lengths(random: Random) -> Case:
    """A length that is none, or not that of the body."""
    data = honest()[2]
    values: Mapping[str, bytes] = {
        "negative": b"-1", "words": b"abc", "hexadecimal": b"0x10", "float": b"1e3", "plus": b"+5", "empty": b"",
        "list": b"5, 6", "huge": b"9" * 400, "2^64": b"18446744073709551616", "too much": b"%d" % (MAX_BYTES + 1),
        "a petabyte": b"%d" % 10**15, "other digits": "١٢".encode(),
    }  # fmt: skip
    name = random.choice(
        [*values, "twice", "with chunks", "gzip", "unknown coding", "expect", "none", "continue, too much"]
    )
    lines: Mapping[str, bytes] = {
        "twice": b"Content-Length: 5\r\nContent-Length: 6\r\n",
        "with chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "gzip": b"Transfer-Encoding: gzip, chunked\r\n",
        "unknown coding": b"Content-Encoding: gzip\r\nContent-Length: 5\r\n",
        "expect": b"Expect: everything\r\nContent-Length: 5\r\n",
        "none": b"",
        "continue, too much": b"Expect: 100-continue\r\nContent-Length: %d\r\n" % (MAX_BYTES * 100),
    }
    line = lines[name] if name in lines else b"Content-Length: " + values[name] + b"\r\n"
    return _raw(f"length/{name}", UPSCALE + line + b"\r\n" + (b"" if name == "none" else data[:5]))


def too_many_bytes(random: Random) -> Case:
    """More than the service takes, announced or not."""
    data = random.choice(honest())
    body = data + bytes(MAX_BYTES)
    if random.random() < 0.5:
        return Case(name="too many bytes/announced", pieces=[post("/v1/upscale", body)], only=frozenset({413}))
    chunks = b"".join(
        b"10000\r\n" + body[start : start + 2**16].ljust(2**16, b"\0") + b"\r\n" for start in range(0, len(body), 2**16)
    )
    return Case(name="too many bytes/in chunks", pieces=[CHUNKED + chunks + b"0\r\n\r\n"], only=frozenset({413}))


def chunks(random: Random) -> Case:
    """Chunks that are none."""
    kinds: Mapping[str, bytes] = {
        "letters": b"zz\r\nabc\r\n", "negative": b"-5\r\nabcde\r\n", "huge": b"F" * 40 + b"\r\nabc",
        "empty": b"\r\nabc\r\n", "longer than said": b"3\r\nabcdefgh\r\n0\r\n\r\n",
        "spaces": b"3 3\r\nabc\r\n0\r\n\r\n",
        "extension": b"3;" + b"a" * HUGE + b"\r\nabc\r\n0\r\n\r\n",
        "trailers": b"3\r\nabc\r\n0\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
        "bare newlines": b"3\nabc\n0\n\n" + b"z" * HUGE,
        "single bytes": b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n",
        "nothing": b"0\r\n\r\n",
    }  # fmt: skip
    name = random.choice([*kinds])
    return _raw(f"chunks/{name}", CHUNKED + kinds[name])


def slow(random: Random) -> Case:
    """A client that takes its time: it is told so, or its connection, on which nothing was asked, is closed."""
    data = honest()[2]
    whole = post("/v1/upscale", data)
    head = len(whole) - len(data)
    kinds: Mapping[str, tuple[list[bytes | float], float]] = {
        "body stops": ([whole[:-5], 60.0], READ_TIMEOUT_S),
        "body never starts": ([whole[:head], 60.0], READ_TIMEOUT_S),
        "chunks stop": ([CHUNKED + b"5\r\nab", 60.0], READ_TIMEOUT_S),
        "head stops": ([whole[: head // 2], 60.0], HEAD_TIMEOUT_S),
        "head drips": ([piece for byte in whole[: head - 4] for piece in (bytes([byte]), 0.4)], HEAD_TIMEOUT_S),
        "nothing": ([60.0], HEAD_TIMEOUT_S),
    }
    name = random.choice([*kinds])
    pieces, limit_s = kinds[name]
    return Case(
        name=f"slow/{name}", pieces=pieces, only=TOO_SLOW, within_s=limit_s + 4,
        ending="answer or closed" if name == "nothing" else "answer",
    )  # fmt: skip


@cache
def large() -> bytes:
    """A photograph that takes long enough to leave meanwhile."""
    return jpeg(mosaic(1200, 800, Random(3)))


def leaving(random: Random) -> Case:
    """A client that goes away in the middle of its request, before the answer, or within it."""
    data = random.choice([large(), *honest()])
    whole = post("/v1/upscale", data)
    where = random.choice(["head", "body", "before the answer", "within the answer", "at once"])
    end = {
        "head": random.randrange(1, len(whole) - len(data)),
        "body": random.randrange(len(whole) - len(data), len(whole)),
        "at once": 0,
    }
    sent = whole[: end.get(where, len(whole))]
    pieces: list[bytes | float] = [sent] if sent else []
    if where == "before the answer":
        pieces.append(random.random() * (0.3 if data is large() else 0.02))
    return Case(
        name=f"leaving/{where}", pieces=pieces, ending="client leaves",
        read_bytes=random.randrange(1, 2000) if where == "within the answer" else 0,
    )  # fmt: skip


FAMILIES: Mapping[Callable[[Random], Case], int] = {
    heads: 10, large_heads: 6, body_lengths: 10, too_many_bytes: 2, chunks: 8, leaving: 10,
}  # fmt: skip
"""Each with its share of the requests; slow ones are counted apart, as they take their time."""
