"""The page on what a sync costs says what the function says."""

from scripts.plan_page import PAGE, written


def test_the_tables_of_the_page_are_those_of_the_function() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "run make generate"
