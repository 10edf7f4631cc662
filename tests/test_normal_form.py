"""Words that mean the same have one form."""

import unicodedata

import pytest

from oms_workers.normal_form import normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("İzmir", "İZMİR"),
        ("Izmir", "İzmir"),
        ("Iğdır", "IĞDIR"),
        ("ığdır", "Iğdır"),
        ("Şanlıurfa", unicodedata.normalize("NFD", "ŞANLIURFA")),
        ("TR", "tr"),
        ("  New \t York ", "NEW YORK"),
        ("Straße", "STRASSE"),
        ("ﬁ", "FI"),  # a ligature
    ],
)
def test_the_same_word_has_one_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(("one", "other"), [("Muğla", "Mugla"), ("Ordu", "Ordü"), ("", "I"), ("A B", "AB")])
def test_other_words_have_others(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize("text", ["İstanbul", "ığdır", "Straße", "e\u0301", "\u1e9e"])
def test_a_normal_form_is_its_own(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)
