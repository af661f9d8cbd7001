"""What the router is asked."""

from __future__ import annotations

from pytest_modelroute.providers.exchange import Message, ProviderRequest, Tool
from pytest_modelroute.router import ModelRequest


def test_a_prompt_alone_is_one_user_message() -> None:
    """Nothing is added to a plain prompt."""
    assert ModelRequest(prompt="Hi").for_model("m") == ProviderRequest(
        model="m", messages=(Message(role="user", text="Hi"),)
    )


def test_the_history_stands_between_system_prompt_and_prompt() -> None:
    """Messages are in the order in which they were said, the system prompt first."""
    history = (Message(role="user", text="1"), Message(role="assistant", text="2"))
    request = ModelRequest(prompt="3", system="rules", history=history).for_model("m")
    assert [(message.role, message.text) for message in request.messages] == [
        ("system", "rules"),
        ("user", "1"),
        ("assistant", "2"),
        ("user", "3"),
    ]


def test_an_empty_system_prompt_is_sent() -> None:
    """Only a system prompt that is None is left out."""
    assert ModelRequest(prompt="Hi", system="").for_model("m").messages[0] == Message(role="system", text="")


def test_tools_and_parameters_go_along() -> None:
    """What a request carries beside its texts is not lost."""
    request = ModelRequest(prompt="Hi", tools=(Tool(name="t"),), params={"temperature": 0}).for_model("m")
    assert (request.tools, request.params) == ((Tool(name="t"),), {"temperature": 0})


def test_the_step_is_not_sent() -> None:
    """A step is the router's own business."""
    assert ModelRequest(prompt="Hi", step="chat").for_model("m") == ModelRequest(prompt="Hi").for_model("m")
