import json
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.responses import conflict_remedy, parse_json


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


@pytest.mark.parametrize(
    ("operation_id", "told"),
    [
        pytest.param("appointments_create", "data['allow_overlapping']=True", id="overlap"),
        pytest.param("appointments_partial_update", "data['scheduled_time']", id="overlap of a change"),
        pytest.param("patients_create", "create another with allow_duplicates=true", id="duplicate"),
        pytest.param("yellow_notepad_create", "the record is locked", id="locked"),
        pytest.param("appointments_list_create", "contradicts one that is there", id="a list that is started"),
        pytest.param("medications_create", "contradicts one that is there", id="not in the contract"),
    ],
)
def test_a_conflict_names_its_own_remedy(operation_id: str, told: str) -> None:
    operation = load().operation(operation_id)
    text = conflict_remedy(operation)

    assert told in text
    remedies = {"allow_overlapping", "allow_duplicates"} - {operation.conflict.remedy if operation.conflict else None}
    assert not any(each in text for each in remedies)
