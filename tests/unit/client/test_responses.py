import json
from typing import Any

import pytest

from airflow_provider_drchrono.client.responses import parse_json


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            b'{"a": [1, -0, 2.5, 1e3, 1E-7, 12345678901234567890123456789012345678901234567890]}', id="numbers"
        ),
        pytest.param(b"[0.1, 100.10, 1e400, -1e400, 3.141592653589793238462643383279]", id="floats"),
        pytest.param(b'{"a": 1, "a": 2}', id="repeated-key"),
        pytest.param('{"a": "é😀\\u00e9\\ud83d\\ude00\\n\\/"}'.encode(), id="text"),
        pytest.param(b'"\\ud800"', id="half-a-surrogate-pair"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', id="byte-order-mark"),
        pytest.param('{"a": "é"}'.encode("utf-16"), id="utf-16"),
        pytest.param(b"[" * 300 + b"]" * 300, id="deep"),
        pytest.param(b" \r\n\t[true, false, null] ", id="whitespace"),
    ],
)
def test_json_is_read_as_the_standard_library_reads_it(content: bytes) -> None:
    expected: Any = json.loads(content)
    found = parse_json(content)
    assert found == expected
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("content", [b"", b"{", b"[1,]", b"{'a': 1}", b"\xff", b"nul", b'{"a": 1} x'])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_json(content)
