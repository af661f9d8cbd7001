"""Vectors that are made from the words of a text."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.providers.vectors import vector_of

law = settings(deadline=None)
WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=8)


def _nearness(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(vector_of(one), vector_of(other), strict=True))


@law
@given(text=st.text(), dimensions=st.integers(1, 600))
def test_a_vector_has_its_dimensions_and_the_length_1(text: str, dimensions: int) -> None:
    """Whatever the text: none at all, punctuation, half a character."""
    vector = vector_of(text, dimensions)
    assert (len(vector), math.isclose(math.hypot(*vector), 1, rel_tol=1e-6)) == (dimensions, True)


@law
@given(words=WORDS, more=WORDS)
def test_the_order_and_the_case_of_words_do_not_matter(words: list[str], more: list[str]) -> None:
    """A bag of words, with their numbers."""
    assert vector_of(" ".join([*words, *more])) == vector_of("\n".join([*more, *words]).upper())


@law
@given(words=WORDS, one=st.text("abcdefgh", min_size=1), other=st.text("abcdefgh", min_size=1))
def test_texts_that_differ_in_one_word_of_many_are_near(words: list[str], one: str, other: str) -> None:
    """The more words they share, the nearer: n of n + 1 are at least that near, wherever the words fall."""
    nearness = _nearness(" ".join([*words, one]), " ".join([*words, other]))
    assert nearness >= len(words) / (len(words) + 1) - 1e-6


def test_texts_that_share_no_word_are_far() -> None:
    """Nothing but a chance meeting of two words in one place brings them nearer."""
    assert _nearness("my parcel is late", "please reset that password") == 0


def test_vectors_are_the_same_on_every_machine() -> None:
    """The hash is one that nothing seeds."""
    vector = vector_of("Late, late parcel!", 16)
    assert {place: round(value, 6) for place, value in enumerate(vector) if value} == {6: 0.447214, 8: 0.894427}
