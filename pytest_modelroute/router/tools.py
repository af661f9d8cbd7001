"""Tools of agents: plain functions, whose annotations say what a model may call them with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_json

from pytest_modelroute.errors import AgentError
from pytest_modelroute.providers.exchange import Tool

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"What the providers take as the name of a tool."
_BY_KEYWORD: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class FunctionTool:
    """A function as a tool: what a model sends is read as its arguments by pydantic, and nothing else is let in."""

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> None:
        """
        Call nothing yet.

        Args:
            function: What is done; each parameter can be given by its name.
            name: As the model calls it; the function's own where left out.
            description: What the model is told of it; the function's docstring where left out.

        Raises:
            AgentError: No plain function, a name that providers refuse, or a parameter that no JSON can give.

        """
        self.function = function
        self.name = check_name(name or str(getattr(function, "__name__", "")), "a tool")
        if inspect.iscoroutinefunction(function):
            raise AgentError(f"the tool {self.name!r} is async; tools are plain functions")
        self._arguments = self._read_signature()
        described = inspect.getdoc(function) or "" if description is None else description
        self.offer = Tool(name=self.name, description=described, parameters=self._arguments.model_json_schema())

    def run(self, arguments: Mapping[str, Any], agent: str) -> str:
        """
        Call the function for an agent.

        Returns:
            What it returns: a text as it is, anything else as JSON.

        Raises:
            AgentError: The arguments do not fit, it raised, or what it returned is not for JSON.

        """
        try:
            read = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, what['loc']))}: {what['msg']}" for what in error.errors())
            raise AgentError(
                f"agent {agent!r} called its tool {self.name!r} with arguments that do not fit: {wrong}", agent=agent
            ) from None
        try:
            result = self.function(**{_alias(read, name): getattr(read, name) for name in read.model_fields_set})
            return result if isinstance(result, str) else to_json(result).decode()
        except PydanticSerializationError as error:
            raise AgentError(
                f"the tool {self.name!r} of agent {agent!r} returned what is neither text nor JSON: {error}",
                agent=agent,
            ) from None
        except Exception as error:
            raise AgentError(
                f"the tool {self.name!r} of agent {agent!r} failed ({type(error).__name__}: {error})", agent=agent
            ) from error

    def _read_signature(self) -> type[BaseModel]:
        """A model of the arguments; its fields are numbered, since a parameter may be named like a method of models."""
        fields: dict[str, Any] = {}
        try:
            hints = get_type_hints(self.function, include_extras=True) if inspect.isroutine(self.function) else {}
            for number, parameter in enumerate(inspect.signature(self.function).parameters.values()):
                if parameter.kind not in _BY_KEYWORD:
                    named = str(parameter.replace(annotation=parameter.empty))
                    raise AgentError(
                        f"the tool {self.name!r} has the parameter {named!r}; a model gives each by its name, "
                        "so name them"
                    )
                # One that is left out is left to the function: its default may be nothing that JSON can say.
                left_out: Any = {} if parameter.default is parameter.empty else {"default_factory": lambda: None}
                kind = hints.get(parameter.name, Any)
                fields[f"argument_{number}"] = (kind, Field(alias=parameter.name, **left_out))
            arguments: type[BaseModel] = create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)
            arguments.model_json_schema()
        except (TypeError, ValueError, NameError, PydanticUserError) as error:
            raise AgentError(f"the parameters of the tool {self.name!r} cannot be read: {error}") from None
        return arguments


def _alias(arguments: BaseModel, field: str) -> str:
    return str(type(arguments).model_fields[field].alias)


def check_name(name: str, what: str) -> str:
    """The name, or an AgentError where providers would refuse it as the name of a tool."""
    if not _NAME.fullmatch(name):
        raise AgentError(f"{what} has the name {name!r}; 1 to 64 letters, digits, _ and - were expected")
    return name
