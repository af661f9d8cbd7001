"""What is said in an exchange, whatever the format on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.providers.exchange import (
    Message,
    ProviderRequest,
    Usage,
    estimate_tokens,
    estimate_usage,
    split_text,
)

BUCKETS = ("fresh_input", "cache_read", "cache_write", "output", "reasoning")


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("value", [-1, 1.5, True, None, "3"], ids=repr)
def test_usage_refuses_what_no_provider_counts(bucket: str, value: Any) -> None:
    """A count that is negative or no whole number is refused with the name of its bucket."""
    with pytest.raises(ValueError, match=rf"^Usage\.{bucket} is a number of tokens, 0 or more, not {value!r}$"):
        Usage(**{bucket: value})


def test_total_input_is_the_sum_of_its_three_buckets() -> None:
    """Fresh, cache read and cache write tokens are all input, each once."""
    assert Usage(fresh_input=1, cache_read=20, cache_write=300, output=4000, reasoning=50000).total_input == 321


def test_total_output_is_the_sum_of_its_two_buckets() -> None:
    """Visible and reasoning tokens are all output, each once."""
    assert Usage(fresh_input=1, cache_read=20, cache_write=300, output=4000, reasoning=50000).total_output == 54000


def _request(*messages: tuple[str, str]) -> ProviderRequest:
    return ProviderRequest(model="m", messages=tuple(Message(role=role, text=text) for role, text in messages))


def test_prompt_is_the_last_user_message() -> None:
    """Answers and earlier questions are not the prompt."""
    assert _request(("user", "first"), ("user", "second"), ("assistant", "prefill")).prompt == "second"


def test_prompt_without_a_user_message_is_the_last_message() -> None:
    """A request of system messages alone still has a prompt."""
    assert _request(("system", "rules"), ("system", "task")).prompt == "task"


def test_prompt_without_messages_is_empty() -> None:
    """A request without messages has an empty prompt."""
    assert not _request().prompt


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("x" * 400, 100)])
def test_estimate_is_four_characters_a_token_rounded_up(text: str, tokens: int) -> None:
    """No text is no token, any text at least one."""
    assert estimate_tokens(text) == tokens


def test_estimated_usage_counts_each_message_and_the_reply() -> None:
    """Input is estimated message by message, output from the reply."""
    request = _request(("system", "abcd"), ("user", "abcde"))
    assert estimate_usage(request, "x" * 12) == Usage(fresh_input=3, output=3)


@settings(deadline=None)
@given(text=st.text() | st.text("ab \n\t\u2028"), chunks=st.none() | st.integers(-2, 40))
def test_pieces_joined_are_the_text(text: str, chunks: int | None) -> None:
    """Splitting loses and adds nothing, whatever the whitespace."""
    assert "".join(split_text(text, chunks)) == text


@settings(deadline=None)
@given(text=st.text() | st.text("ab \n\t\u2028"), chunks=st.integers(1, 40))
def test_there_are_at_most_as_many_pieces_as_asked_for(text: str, chunks: int) -> None:
    """The number of chunks is an upper bound, and there is always one."""
    assert 1 <= len(split_text(text, chunks)) <= chunks


@settings(deadline=None)
@given(words=st.lists(st.text("ab", min_size=1), min_size=1, max_size=60))
def test_words_are_the_pieces_by_default(words: list[str]) -> None:
    """Without a number, a text is cut into its words, twenty pieces at the most."""
    assert len(split_text(" ".join(words), None)) == min(len(words), 20)


@settings(deadline=None)
@given(text=st.text(min_size=1) | st.text("ab \n", min_size=1), chunks=st.none() | st.integers(1, 40))
def test_no_piece_of_a_text_is_empty(text: str, chunks: int | None) -> None:
    """A stream of some text has no chunk without any."""
    assert all(split_text(text, chunks))


def test_words_keep_the_space_before_them() -> None:
    """Pieces look like a model's tokens: the space leads."""
    assert split_text("one two three ", 3) == ["one", " two", " three "]
