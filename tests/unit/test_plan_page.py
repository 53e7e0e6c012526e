"""The page on what a sync costs says what the function says."""

from xml.etree import ElementTree

from airflow_provider_drchrono.transfers.forecast import LARGE_PRACTICE
from scripts.plan_page import PAGE, PICTURE, picture, written


def test_the_tables_of_the_page_are_those_of_the_function() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "run make generate"


def test_the_picture_of_the_page_is_that_of_the_function() -> None:
    assert PICTURE.read_text() == picture(), "run make generate"
    names = [each.text for each in ElementTree.fromstring(picture()).iter() if each.get("text-anchor") == "end"]
    assert names == list(LARGE_PRACTICE)
