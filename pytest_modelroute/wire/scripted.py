"""`mock_providers`: scripts for every provider, found in constant time by model."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from heapq import merge
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Final, cast, overload

from pytest_modelroute.errors import ScriptError, ScriptRaised, UnscriptedCall
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.registry import PROVIDERS
from pytest_modelroute.wire.addresses import HOST, base_path, check_name, fake_key
from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.call_log import CallLog, ProviderCall
from pytest_modelroute.wire.places import call_site, script_site
from pytest_modelroute.wire.scripts import Conditions, Script, Seconds, Source

if TYPE_CHECKING:
    from respx import MockRouter

_SHOWN_SCRIPTS: Final = 12


class MockProviders:
    """
    The scripted providers of a test.

    Attributes:
        calls: What was called so far.
        http: A respx router for the HTTP calls of the application that go to no model:
            `mock_providers.http.get("https://shop/orders/1").respond(json={...})`.
        answers_for: The thread whose call is being answered; None while there is none.

    """

    def __init__(
        self,
        calls: CallLog,
        *,
        http: MockRouter,
        models_of: Callable[[str], Sequence[str]] = lambda name: (name,),
        steps: Iterable[str] = (),
        providers: Iterable[str] = (),
        partial: bool = False,
        serve: Callable[[str, int | None], int] | None = None,
    ) -> None:
        """
        Script nothing yet.

        Args:
            calls: The test's call log.
            http: Where calls that go to no model are answered.
            models_of: The models on the wire that a name of the settings stands for.
            steps: The declared steps; empty where none are.
            providers: Names of providers beyond the known ones.
            partial: Whether only a part of the calls is made (one case is rerun), so that unused scripts are fine.
            serve: Puts a provider's name behind a real server, at a given port or any, and says the port.

        """
        self.calls = calls
        self.http = http
        self._models_of = models_of
        self._steps = frozenset(steps)
        self._providers = {*PROVIDERS, *providers}
        self._partial = partial
        self._serve = serve
        self._scripts: list[Script] = []
        self._by_model: dict[str, list[Script]] = {}
        self._any_model: list[Script] = []
        self._endless: dict[str | None, list[Script]] = {}
        self._default: Script | None = None
        self.answers_for: int | None = None
        self._lock = RLock()  # a predicate may ask the log, or us

    def on(
        self,
        *,
        model: str | Sequence[str] | None = None,
        provider: str | None = None,
        step: str | None = None,
        when: Callable[[ProviderCall], bool] | None = None,
        optional: bool = False,
    ) -> Script:
        """
        Begin a script for the calls that meet all the conditions given; go on with `.replies(...)` or `.fails(...)`.

        The first script, in the order of their making, that matches and is not used up answers a call.

        Args:
            model: The model as asked for on the wire, an alias of the settings, or several.
            provider: The provider by the host called, such as openai.
            step: The step by its label.
            when: A predicate of the call.
            optional: Whether the script may stay unused.

        Raises:
            ScriptError: The script could never match: an unknown provider or step, or hidden behind an earlier script.

        """
        conditions = Conditions(models=self._read_models(model), provider=provider, step=step, when=when)
        where = script_site()
        self._check_names(conditions, where)
        self._check_hidden(conditions, where)
        number = len(self._scripts) + 1
        script = Script(
            conditions, number=number, where=where, optional=optional, revive=self._enlist, ended=self._note_endless
        )
        self._scripts.append(script)
        self._enlist(script)
        return script

    def otherwise(
        self,
        source: Source,
        *,
        usage: Usage | Mapping[str, int] | None = None,
        latency: Seconds = 0.0,
        ttft: float | None = None,
        chunks: int | Sequence[str] | None = None,
        model: str | None = None,
    ) -> None:
        """Answer every call that no script answers, as `replies` does; without it such a call fails the test."""
        self._default = Script(Conditions(), number=0, where=script_site(), optional=True)
        self._default.replies(source, usage=usage, latency=latency, ttft=ttft, chunks=chunks, model=model)

    def url(self, name: str, *, port: int | None = None) -> str:
        """
        The base URL of a provider behind a real server on 127.0.0.1, for clients that cannot be intercepted in process.

        The server runs from the first such call to the end of the test. Its calls count as calls of this name, in
        `on(provider=...)` and in prices.

        Args:
            name: A provider, or a name of your own for one more host: the format of a call is told by its path.
            port: A fixed port; any that is free where left out.

        Returns:
            The URL in the shape that the provider's client expects, with /v1 at its end for openai.

        Raises:
            ScriptError: The port is in use, or the name is a misspelt one.

        """
        if self._serve is None:
            raise ScriptError(f"url({name!r}): these scripts stand behind no server")
        self._providers.add(check_name(name, self._providers))
        return f"http://{HOST}:{self._serve(name, port)}{base_path(name)}"

    def key(self, name: str) -> str:
        """An API key in the shape of the provider's that is none; the environment is left as it is."""
        return fake_key(check_name(name, self._providers))

    @overload
    def answer(self, call: ProviderCall, language: Language) -> Answer: ...
    @overload
    def answer(self, call: ProviderCall, language: Language, *, strict: bool) -> Answer | None: ...
    def answer(self, call: ProviderCall, language: Language, *, strict: bool = True) -> Answer | None:
        """
        The answer to a call; safe to ask from several threads.

        Args:
            call: The call.
            language: Its language.
            strict: Whether a call that no script answers is an error, and not None.

        Raises:
            UnscriptedCall: No script answers.
            ScriptRaised: The function of a script raised.

        """
        with self._lock:
            outer, self.answers_for = self.answers_for, get_ident()
            try:
                script = self._find(call)
                if script is None and not strict:
                    return None
                if script is None:
                    raise UnscriptedCall(self._describe_unscripted(call))
                answer = script.answer(call, language)
            finally:
                self.answers_for = outer
            if script.spent and script is not self._default:
                self._retire(script)
        call.answered_by = "otherwise" if script is self._default else f"script {script.number}"
        return answer

    def leftovers(self) -> str | None:
        """The scripts that were never used, as a message that says how to allow it; None if there are none."""
        if self._partial:
            return None
        lines = [f"  {script}: {word}" for script in self._scripts for word in script.leftovers()]
        if not lines:
            return None
        asked = ", ".join(f"{model!r} ({count})" for model, count in Counter(self.calls.models).most_common(6))
        shown = [
            *lines[:_SHOWN_SCRIPTS],
            *([f"  ... {len(lines) - _SHOWN_SCRIPTS} more"] * (len(lines) > _SHOWN_SCRIPTS)),
        ]
        return "\n".join(
            [
                "scripts were not used up, so something that this test expects did not happen:",
                *shown,
                *self._suggestions(),
                f"models asked for: {asked or 'none'}",
                "If that is fine: mock_providers.on(..., optional=True)",
            ]
        )

    def _find(self, call: ProviderCall) -> Script | None:
        keyed = self._by_model.get(call.model, ())
        candidates = (
            merge(keyed, self._any_model, key=_number) if keyed and self._any_model else keyed or self._any_model
        )
        for script in candidates:
            if not script.spent and not script.empty and self._meets(script, call):
                return script
        return None if self._default is None or self._default.spent else self._default

    def _enlist(self, script: Script) -> None:
        """Let a script answer, in the order of their making."""
        for name in script.conditions.models or ():
            insort(self._by_model.setdefault(name, []), script, key=_number)
        if script.conditions.models is None:
            insort(self._any_model, script, key=_number)

    def _meets(self, script: Script, call: ProviderCall) -> bool:
        try:
            return script.conditions.misses(call) is None
        except Exception as error:
            raise ScriptRaised(
                f"the predicate of script {script} raised on call {call.number} ({type(error).__name__}: {error})"
            ) from error

    def _retire(self, script: Script) -> None:
        """Forget a used-up script, so that a long row of them does not slow the calls that follow."""
        for name in script.conditions.models or ():
            self._by_model[name].remove(script)
        if script.conditions.models is None:
            self._any_model.remove(script)

    def _read_models(self, model: str | Sequence[str] | None) -> tuple[str, ...] | None:
        if model is None:
            return None
        given: object = model
        names = tuple(cast("Sequence[object]", given)) if isinstance(given, list | tuple) else (given,)
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ScriptError(f"on(model={model!r}): the name of a model, or several, was expected")
        return tuple(dict.fromkeys(wire_name for name in names for wire_name in self._models_of(str(name))))

    def _check_names(self, conditions: Conditions, where: str) -> None:
        for what, value, known in (
            ("provider", conditions.provider, self._providers),
            ("step", conditions.step, self._steps),
        ):
            if value is not None and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ScriptError(f"on({what}={value!r}): the name of a {what} was expected ({where})")
            if value is not None and known and value not in known:
                nearest = get_close_matches(value, known, n=1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join(sorted(known))}"
                if what == "provider":
                    hint += " A host of your own is known once mock_providers.url(...) has named it"
                raise ScriptError(f"{conditions} can never match: there is no {what} {value!r}; {hint} ({where})")

    def _check_hidden(self, conditions: Conditions, where: str) -> None:
        hiding: list[Script] = []
        for name in conditions.models or (None,):
            part = conditions if name is None else replace(conditions, models=(name,))
            known = [*self._endless.get(name, ()), *(self._endless.get(None, ()) if name is not None else ())]
            hiding += [script for script in known if script.conditions.cover(part)][:1]
        if len(hiding) == len(conditions.models or (None,)):
            raise ScriptError(
                f"{conditions} ({where}) can never match: an earlier script answers all such calls, for ever:\n"
                + "".join(f"  {script}\n" for script in dict.fromkeys(hiding))
                + "Put the narrower script first, give the earlier one an end, or make it the default: "
                "mock_providers.otherwise(...)"
            )

    def _note_endless(self, script: Script) -> None:
        """Keep the few scripts that can hide later ones."""
        if script.conditions.when is None:
            for name in script.conditions.models or (None,):
                self._endless.setdefault(name, []).append(script)

    def _suggestions(self) -> list[str]:
        asked = set(self.calls.models)
        lines: list[str] = []
        for name in sorted(set(self._by_model) - asked):
            nearest = get_close_matches(name, asked, n=1, cutoff=0.8)
            if nearest and self._by_model[name]:
                lines.append(f"model {name!r} was never asked for; did you mean {nearest[0]!r}?")
        return lines

    def _describe_unscripted(self, call: ProviderCall) -> str:
        site = call_site()
        nearest = get_close_matches(call.model, self._by_model, n=1)
        labels = "".join(f"  {name} {value!r}" for name, value in (("step", call.step), ("case", call.case)) if value)
        prompt = call.prompt if len(call.prompt) <= 100 else call.prompt[:100] + "..."  # noqa: PLR2004
        scripts = [f"  {script}: {self._why_not(script, call)}" for script in self._scripts[:_SHOWN_SCRIPTS]]
        if len(self._scripts) > _SHOWN_SCRIPTS:
            scripts.append(f"  ... {len(self._scripts) - _SHOWN_SCRIPTS} more")
        return "\n".join(
            [
                "no script answers this provider call:",
                f"  POST {call.url}  model {call.model!r}{labels}",
                f"  prompt: {prompt!r}",
                *([f"  called at {site}"] if site else []),
                *(["scripts, and why they do not answer:", *scripts] if scripts else ["no script was made"]),
                *(
                    [f"did the script for {nearest[0]!r} mean {call.model!r}?"]
                    if nearest != [call.model] and nearest
                    else []
                ),
                f"If the call is right, script it: mock_providers.on(model={call.model!r}).replies(...)",
                "or answer everything else alike: mock_providers.otherwise(...)",
            ]
        )

    def _why_not(self, script: Script, call: ProviderCall) -> str:
        if script.empty or script.spent:
            return "has no answer" if script.empty else "used up"
        missed = script.conditions.misses(call)
        if missed == "step" and call.step is None:
            return "the call carries no step (label it: call_log.attribute(function, step=...), or call_log.label)"
        return "its predicate says no" if missed == "when" else f"other {missed}"


def _number(script: Script) -> int:
    return script.number
