"""How a body is collected: each encoding, each way to break it, and the two bounds."""

import gzip
import zlib

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.receiving import (
    FILE_ANSWER,
    JSON_ANSWER,
    BodyReader,
    BrokenEncodingError,
    SizeLimit,
    TooLargeError,
    size_limit,
)

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
