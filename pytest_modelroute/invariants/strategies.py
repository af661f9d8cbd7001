"""Strategies for requests, fault scripts and scenes, from which the laws put theirs together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_modelroute import faults
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.texts import prompts, queries

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way
    from pytest_modelroute.invariants.promises import Promises


def requests(promises: Promises, atlas: Atlas) -> SearchStrategy[RoutingRequest]:
    """Requests of every kind."""
    base = st.builds(
        RoutingRequest,
        prompt=prompts(promises, atlas),
        as_parts=st.booleans(),
        system=st.sampled_from((None, "Be brief.")),
        history=st.sampled_from(((), (("user", "hi"), ("assistant", "Hello! How can I help?")))),
        params=st.sampled_from(({}, {"temperature": 0.2}, {"max_tokens": 64})),
        stream=st.booleans() if promises.streams else st.just(False),
        step=steps(promises),
        critical=st.booleans() if promises.critical else st.just(False),
    )
    return st.one_of(base, st.just(RoutingRequest(has_messages=False, step=first_step(promises))))


def plain_requests(promises: Promises) -> SearchStrategy[RoutingRequest]:
    """Simple requests, where it does not matter what is asked."""
    return st.builds(RoutingRequest, prompt=queries(promises), step=steps(promises))


def steps(promises: Promises) -> SearchStrategy[str | None]:
    """A step that has a model, where steps are declared."""
    names = [name for name, model in (promises.steps or {}).items() if model is not None]
    return st.sampled_from(names) if names else st.none()


def first_step(promises: Promises) -> str | None:
    """One step that has a model; None where none is declared."""
    return next((name for name, model in (promises.steps or {}).items() if model is not None), None)


def labels(promises: Promises) -> SearchStrategy[str | None]:
    """What a declared classifier answers; None where there is none."""
    return st.sampled_from(tuple(promises.classifier.labels)) if promises.classifier else st.none()


def ways(promises: Promises, atlas: Atlas, *, with_fallbacks: bool = False) -> SearchStrategy[Way]:
    """
    Requests by the model that they are known to reach, each model as often as the others.

    Args:
        promises: Those of the class.
        atlas: What was seen before.
        with_fallbacks: Only models that have a chain of fallbacks.

    """
    heads = {
        model: found
        for model, found in atlas.ways.items()
        if found and (not with_fallbacks or promises.fallbacks.get(model))
    }
    if not heads:
        return st.nothing()
    return st.sampled_from(tuple(heads)).flatmap(lambda model: st.sampled_from(heads[model]))


FAULTS_BY_CLASS: dict[str, tuple[Any, ...]] = {
    "rate_limited": (faults.rate_limit(), faults.rate_limit(retry_after=1)),
    "quota_exhausted": (faults.quota_exhausted(),),
    "overloaded": (faults.overloaded(),),
    "unavailable": (faults.unavailable(),),
    "server_error": (faults.server_error(),),
    "timeout": (faults.request_timeout(), faults.read_timeout()),
    "connection": (faults.connect_error(), faults.connection_reset()),
    "not_found": (faults.model_not_found(),),
    "context_overflow": (faults.context_overflow(),),
    "content_filtered": (faults.content_filter(),),
    "malformed": (faults.malformed_body(), faults.html_page(), faults.empty_body()),
}
"Error class -> the faults that show it, before the first byte of an answer."
CALLERS_FAULTS: tuple[Any, ...] = (faults.bad_request(), faults.authentication(), faults.permission())
"What is the caller's own fault."
