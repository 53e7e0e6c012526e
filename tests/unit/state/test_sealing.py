import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_drchrono.state.sealing import Seal, SealError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(value=JSON, secret=st.text(min_size=1), place=st.text())
def test_what_was_sealed_is_opened_by_whoever_has_the_secret(value: object, secret: str, place: str) -> None:
    assert Seal("app", secret).open(Seal("app", secret).close(value, place), place) == value


def test_what_is_equal_looks_different_each_time() -> None:
    seal = Seal("app", "secret")

    assert len({seal.close("token", "here") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("client_id", "secret", "place"),
    [
        pytest.param("app", "secret ", "here", id="another-secret"),
        pytest.param("apps", "secret", "here", id="another-application"),
        pytest.param("app", "secret", "there", id="another-place"),
    ],
)
def test_it_opens_with_the_same_secret_in_the_same_place_only(client_id: str, secret: str, place: str) -> None:
    sealed = Seal("app", "secret").close("canary", "here")

    with pytest.raises(SealError) as caught:
        Seal(client_id, secret).open(sealed, place)

    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_no_bit_of_it_can_be_changed() -> None:
    seal = Seal("app", "secret")
    sealed = base64.urlsafe_b64decode(seal.close("token", "here"))

    for position in range(len(sealed)):
        changed = bytes([*sealed[:position], sealed[position] ^ 1, *sealed[position + 1 :]])
        with pytest.raises(SealError):
            seal.open(base64.urlsafe_b64encode(changed).decode(), "here")


@pytest.mark.parametrize("text", ["", "x", "not base64!", "AAAA", "ééé", "A" * 64])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SealError):
        Seal("app", "secret").open(text, "here")
