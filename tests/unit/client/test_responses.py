import json
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.responses import conflict_remedy, parse_json, parse_page


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


def lines_decoded(page: Any) -> Any:
    """Decode the lines of a page, so that it can be compared with one that was decoded as a whole."""
    if isinstance(page, dict):
        return {name: lines_decoded(each) if name in ("results", "data") else each for name, each in page.items()}
    if isinstance(page, list):
        return [parse_json(each) if isinstance(each, bytes) else each for each in page]
    return page


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"previous":null,"results":[{"id":1,"a":[{"b":"\\u00e9\\n"}]},{"id":2}],"next":"x"}', id="page"),
        pytest.param(b' {"data" : [ {"id": 1} , {"id":2.50}],"pagination":{"pages":3}}\r\n', id="spaces"),
        pytest.param(b'[{"id":1},{}]', id="bare list"),
        pytest.param('{"results":[{"name":"Zoë 🙂"}]}'.encode(), id="characters beyond ASCII"),
        pytest.param(b'{"results":[],"next":null}', id="no records"),
    ],
)
def test_records_are_left_as_lines(content: bytes) -> None:
    page = parse_page(content)
    records = page if isinstance(page, list) else page.get("results", page.get("data"))

    assert all(isinstance(each, bytes) and b"\n" not in each and each in content for each in records)
    assert lines_decoded(page) == parse_json(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"results":[{"id":\n1}]}', id="records of several lines"),
        pytest.param(b'{"results":[{"id":\r1}]}', id="carriage returns"),
        pytest.param(b'{"results":[{"id":NaN}]}', id="NaN"),
        pytest.param(b'{"results":[{"name":"\\ud800"}]}', id="half a character"),
        pytest.param(b'{"results":[{"id":1},2]}', id="a number among records"),
        pytest.param(b'{"results":[["id"]]}', id="lists in the list"),
        pytest.param(b'{"results":null}', id="null"),
        pytest.param(b'{"results":{"id":1}}', id="a record where the list is"),
        pytest.param(b'{"detail":"no"}', id="no list"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"7", id="a number"),
        pytest.param('{"results":[{"name":"ä"}]}'.encode("utf-16"), id="UTF-16"),
    ],
)
def test_what_cannot_be_left_as_lines_is_decoded(content: bytes) -> None:
    assert repr(parse_page(content)) == repr(parse_json(content))


@pytest.mark.parametrize(
    "content", [b'{"results":[{"id":1}', b'{"results":[{"a":"\xff"}]}', b'{"results":[{"a":tru}]}', b"", b"<html>"]
)
def test_a_page_that_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_page(content)
