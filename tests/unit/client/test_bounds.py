"""Bounds of one request: its deadline, and the size of its answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    DrChronoClient,
    DrChronoError,
    MemoryTokenStore,
    RequestTimeoutError,
    Token,
    UnexpectedAnswerError,
    grant_id_of,
)
from airflow_provider_drchrono.client.bounds import (
    FILE_ANSWER,
    JSON_ANSWER,
    BodyReader,
    BrokenEncodingError,
    SizeLimit,
    TooLargeError,
    size_limit,
)
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import settings_for
from tests.unit.client.test_transport import raw_server

STORE = MemoryTokenStore(Token("access", grant_id=grant_id_of("refresh-0")))
MEBIBYTE = 1024 * 1024


def call(url: str, operation_id: str = "patients_read", **settings: Any) -> Any:
    with DrChronoClient(settings_for(url, **settings), token_store=STORE) as client:
        return client.call(operation_id, path={"id": 1})


def call_async(url: str, operation_id: str = "patients_read", **settings: Any) -> Any:
    async def ask() -> Any:
        async with AsyncDrChronoClient(settings_for(url, **settings), token_store=STORE) as client:
            return await client.call(operation_id, path={"id": 1})

    return asyncio.run(ask())


both = pytest.mark.parametrize("call", [call, call_async], ids=["sync", "async"])
Call = Callable[..., Any]


@both
def test_a_body_that_comes_byte_by_byte_ends_by_the_deadline(api: ScriptedApi, call: Call) -> None:
    api.script += [Reply(body=b'{"id": 1}' + b" " * 1000, drip=0.02)]
    began = time.monotonic()

    with pytest.raises(RequestTimeoutError, match=r"not complete within 0.4 s; .*raise request_timeout") as caught:
        call(api.url, request_timeout=0.4)

    assert 0.3 < time.monotonic() - began < 5
    assert caught.value.transient
    assert len(api.seen) == 1


@both
def test_a_slow_body_within_the_deadline_is_read(api: ScriptedApi, call: Call) -> None:
    api.script += [Reply(body=b'{"id": 1}', drip=0.02)]
    assert call(api.url, request_timeout=30.0, read_timeout=5.0) == {"id": 1}


@both
def test_headers_that_come_byte_by_byte_end_by_the_deadline(call: Call) -> None:
    released = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 1\r\n" * 100:
            connection.sendall(bytes([byte]))
            if released.wait(0.02):
                return

    with raw_server(talk) as address:
        began = time.monotonic()
        with pytest.raises(RequestTimeoutError, match=r"not complete within 0.4 s"):
            call(f"http://{address}", request_timeout=0.4)
        assert time.monotonic() - began < 5
        released.set()


def test_an_upload_that_is_not_taken_ends_by_the_deadline_and_is_in_doubt() -> None:
    released = threading.Event()

    def talk(connection: socket.socket) -> None:
        # Takes so little that no single write ever waits for long.
        while connection.recv(2048) and not released.wait(0.02):
            pass

    with raw_server(talk) as address:
        settings = settings_for(f"http://{address}", request_timeout=0.5)
        began = time.monotonic()
        with (
            DrChronoClient(settings, token_store=STORE) as client,
            pytest.raises(RequestTimeoutError, match="look before you do it again") as caught,
        ):
            client.create("documents", {"description": "x"}, files={"document": b"x" * 30_000_000})
        assert time.monotonic() - began < 5
        assert not caught.value.transient
        released.set()


@both
def test_a_small_answer_that_unpacks_to_hundreds_of_megabytes_is_refused(api: ScriptedApi, call: Call) -> None:
    packed = gzip.compress(b" " * (200 * MEBIBYTE), compresslevel=1)
    api.script += [Reply(body=packed, headers={"Content-Encoding": "gzip"})]
    tracemalloc.start()

    with pytest.raises(UnexpectedAnswerError, match="larger than 128 MiB and was not read to its end") as caught:
        call(api.url)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(packed) < MEBIBYTE
    # Twice the bound, while the buffer grows.
    assert peak < 300 * MEBIBYTE
    assert not caught.value.transient
    assert len(api.seen) == 1


@both
@pytest.mark.parametrize(
    ("operation_id", "size", "refused"),
    [
        pytest.param("patients_read", 65, True, id="json"),
        pytest.param("patients_ccda", 65, False, id="file"),
    ],
)
def test_a_large_answer_is_refused_unless_it_is_a_file(
    api: ScriptedApi, call: Call, operation_id: str, size: int, refused: bool
) -> None:
    api.script += [Reply(body=b"x" * (size * MEBIBYTE), headers={"Content-Type": "application/pdf"})]
    if refused:
        with pytest.raises(UnexpectedAnswerError, match="larger than 64 MiB"):
            call(api.url, operation_id)
    else:
        assert len(call(api.url, operation_id)) == size * MEBIBYTE


@both
def test_only_encodings_that_are_bounded_are_asked_for(api: ScriptedApi, call: Call) -> None:
    call(api.url)
    assert api.seen[0].headers["accept-encoding"] == "gzip, deflate"


def test_the_next_request_of_a_client_has_its_whole_time(api: ScriptedApi) -> None:
    with DrChronoClient(settings_for(api.url, request_timeout=0.5), token_store=STORE) as client:
        for _ in range(2):
            api.script += [Reply(body=b'{"id": 1}' + b" " * 1000, drip=0.02), Reply(body={"id": 1})]
            with pytest.raises(DrChronoError):
                client.read("patients", 1)
            assert client.read("patients", 1) == {"id": 1}


TEXT = b'{"results": []}' * 1000
RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)


def read(encoding: str, content: bytes, limit: SizeLimit = JSON_ANSWER, piece: int = 100) -> bytes:
    reader = BodyReader(encoding, limit)
    for start in range(0, len(content), piece):
        reader.feed(content[start : start + piece])
    return reader.finish()


@pytest.mark.parametrize("piece", [1, 100, 100_000])
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        pytest.param("", TEXT, id="plain"),
        pytest.param("identity", TEXT, id="identity"),
        pytest.param("gzip", gzip.compress(TEXT), id="gzip"),
        pytest.param(" GZip ", gzip.compress(TEXT), id="capitals"),
        pytest.param("gzip", gzip.compress(TEXT[:5000]) + gzip.compress(TEXT[5000:]), id="two-streams"),
        pytest.param("deflate", zlib.compress(TEXT), id="deflate"),
        pytest.param("deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush(), id="raw-deflate"),
    ],
)
def test_what_is_packed_comes_out(encoding: str, content: bytes, piece: int) -> None:
    assert read(encoding, content, piece=piece) == TEXT


def test_an_empty_body_needs_no_encoding() -> None:
    assert read("gzip", b"") == read("br", b"") == b""


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        pytest.param("gzip", b"rubbish", id="rubbish"),
        pytest.param("gzip", gzip.compress(TEXT)[:-10], id="cut"),
        pytest.param("deflate", b"\x78\x9crubbish", id="deflate-rubbish"),
        pytest.param("br", b"x", id="not-asked-for"),
        pytest.param("gzip, gzip", gzip.compress(gzip.compress(TEXT)), id="twice"),
    ],
)
def test_what_cannot_be_unpacked_is_broken(encoding: str, content: bytes) -> None:
    with pytest.raises(BrokenEncodingError):
        read(encoding, content)


def test_both_sizes_are_bounded() -> None:
    packed = gzip.compress(TEXT)

    assert read("gzip", packed, SizeLimit(len(packed), len(TEXT))) == TEXT
    with pytest.raises(TooLargeError) as caught:
        read("gzip", packed, SizeLimit(len(packed) - 1, len(TEXT)))
    assert caught.value.limit == len(packed) - 1
    with pytest.raises(TooLargeError) as caught:
        read("gzip", packed, SizeLimit(len(packed), len(TEXT) - 1))
    assert caught.value.limit == len(TEXT) - 1


def test_files_may_be_larger_than_json() -> None:
    catalog = load()
    assert size_limit(catalog.operation("patients_list")) == JSON_ANSWER
    assert size_limit(catalog.operation("patients_ccda")) == FILE_ANSWER
    assert FILE_ANSWER.received > JSON_ANSWER.received
