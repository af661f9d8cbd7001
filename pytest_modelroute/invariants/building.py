"""Builds the routers of a scene, and says what is wrong with a `make_router` that does not."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from pytest_modelroute.errors import SubjectError
from pytest_modelroute.invariants.laboratory import Laboratory, without_keys
from pytest_modelroute.invariants.scenes import Scene
from pytest_modelroute.wire.labels import Label, labelled
from pytest_modelroute.wire.places import raise_site

BUILDING: Final = "building"
"The case of the calls that a `make_router` makes."


class Builder:
    """Calls `make_router`, and keeps the newest of its routers."""

    def __init__(self, subject: Any, laboratory: Laboratory, *, name: str) -> None:
        """
        Nothing is built yet.

        Args:
            subject: An instance of the test class.
            laboratory: Open.
            name: The class's name, for messages.

        """
        self._subject = subject
        self._lab = laboratory
        self._name = name
        self.last: Any = None
        "The newest router."

    def call(self) -> Any:
        """
        What `make_router` returns, a coroutine of an asynchronous one.

        Raises:
            SubjectError: It raises.

        """
        try:
            with labelled(Label(case=BUILDING)):
                return self._subject.make_router(self._lab.providers)
        except Exception as error:
            raise self._failed(error) from error

    async def acall(self) -> Any:
        """A router, also where `make_router` is asynchronous."""
        router = self.call()
        if not inspect.isawaitable(router):
            return router
        try:
            with labelled(Label(case=BUILDING)):
                return await router
        except Exception as error:
            raise self._failed(error) from error

    def check(self, router: Any) -> None:
        """
        Refuse a router that was there before.

        Raises:
            SubjectError: `make_router` returned the same object twice.

        """
        if router is not None and router is self.last:
            raise SubjectError(
                f"{self._name}.make_router returned the same {type(router).__name__} twice: what an example does "
                "to it would decide the next.\n"
                "Build a new router in make_router, without a module-level instance or a cache"
            )
        self.last = router

    def add(self, routers: dict[int, Any], indices: Iterable[int]) -> None:
        """Build the routers that are asked for the first time."""
        for index in sorted({*indices} - {*routers}):
            routers[index] = self.call()
            self.check(routers[index])

    async def aadd(self, routers: dict[int, Any], indices: Iterable[int]) -> None:
        """Build the routers that are asked for the first time, in a loop."""
        for index in sorted({*indices} - {*routers}):
            routers[index] = await self.acall()
            self.check(routers[index])

    def _failed(self, error: Exception) -> SubjectError:
        where = raise_site(error)
        if self._lab.guard.refused:
            return SubjectError(
                f"{self._name}.make_router needs the network, and raised {type(error).__name__}:\n"
                f"  {self._lab.guard.refused[0].partition(chr(10))[0]}\n"
                "Building a router must need none; give its clients providers.url(name), or build them at first use"
            )
        return SubjectError(
            f"{self._name}.make_router raised {type(error).__name__}: {error}"
            + (f"\n  at {where}" if where else "")
            + "\nIt is called for every example, with nothing but `providers`; build the router as production does"
        )


def environment(scene: Scene) -> AbstractContextManager[None]:
    """The keys of the environment, as the scene has them."""
    keys = scene.keys
    return nullcontext() if keys is None else without_keys(lambda name: name in keys)
