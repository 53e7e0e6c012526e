"""Files behind links: real bytes, and links that are good for a while."""

import struct
import zlib

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.sandbox.support import Serve


def links(sandbox: Sandbox) -> list[str]:
    return [each["document"] for each in sandbox.practice.records("documents")]


def test_documents_are_pdfs_and_pictures(serve: Serve) -> None:
    sandbox, _ = serve(patients=20)

    answers = [httpx.get(each) for each in links(sandbox)]

    assert {each.headers["content-type"] for each in answers} == {"application/pdf", "image/png"}
    pdf = next(each.content for each in answers if each.headers["content-type"] == "application/pdf")
    png = next(each.content for each in answers if each.headers["content-type"] == "image/png")
    assert (pdf[:5], pdf[-5:]) == (b"%PDF-", b"%EOF\n")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    data = png[png.index(b"IDAT") + 4 : png.index(b"IEND") - 8]
    assert len(zlib.decompress(data)) == (width + 1) * height


def test_a_link_is_good_for_an_hour_and_the_next_answer_has_another(serve: Serve) -> None:
    sandbox, api = serve()
    first = api.get("/api/documents").json()["data"][0]["document"]

    assert links(sandbox)[0] == first
    sandbox.clock.advance(3590)
    assert httpx.get(first).status_code == 200
    sandbox.clock.advance(2 * 3600)
    assert httpx.get(first).status_code == 403
    second = api.get("/api/documents").json()["data"][0]["document"]
    assert (second.partition("?")[0], second == first) == (first.partition("?")[0], False)
    assert httpx.get(second).status_code == 200


@pytest.mark.parametrize("change", ["Expires", "Signature", "none"])
def test_a_link_cannot_be_made_up(serve: Serve, change: str) -> None:
    sandbox, _ = serve()
    url = httpx.URL(links(sandbox)[0])

    changed = url.copy_with(query=None) if change == "none" else url.copy_set_param(change, "99999999")

    assert httpx.get(changed).status_code == 403


@pytest.mark.parametrize("options", [{"tidy": True}, {"file_lifetime": 0}], ids=["tidy", "no lifetime"])
def test_links_without_an_end(serve: Serve, options: dict[str, int]) -> None:
    sandbox, _ = serve(**options)
    link = links(sandbox)[0]
    sandbox.clock.advance(10**6)

    assert "?" not in link
    assert httpx.get(link).status_code == 200
    assert links(sandbox)[0] == link
