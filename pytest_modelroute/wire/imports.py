"""Methods of other people's classes, replaced for a time: as their module is loaded, before or in a test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

StandIns = Iterable[tuple[type[Any], str, Any]]
"Class, name of the method, and what stands in for it."
_Listener = TypeVar("_Listener")


class ModulePatch(MetaPathFinder):
    """The stand-ins of one module: there while it is installed, so that nobody pays for an import."""

    def __init__(self, module: str, stand_ins: Callable[[Any], StandIns]) -> None:
        """`stand_ins` is asked once the module is loaded."""
        self._module = module
        self._stand_ins = stand_ins
        self._originals: list[tuple[type[Any], str, Any]] = []
        self._installed = False

    def install(self) -> None:
        """Replace the methods where the module is loaded; else wait for its import."""
        self._installed = True
        module = sys.modules.get(self._module)
        if module is not None:
            self._replace(module)
        else:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Give the methods back."""
        self._installed = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as others find it, with its methods replaced after it has run."""
        del path, target
        if fullname != self._module:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if self._installed:
                    self._replace(module)

            loader.exec_module = exec_module
        return spec

    def _replace(self, module: ModuleType) -> None:
        for kind, name, stand_in in self._stand_ins(module):
            owner: type[Any] = next(each for each in kind.__mro__ if name in vars(each))
            self._originals.append((owner, name, vars(owner)[name]))
            setattr(owner, name, stand_in)


def begin_listening(listeners: list[_Listener], listener: _Listener, patches: Sequence[ModulePatch]) -> None:
    """One more listens, the newest last: with the first the stand-ins are there."""
    listeners.append(listener)
    if len(listeners) == 1:
        for patch in patches:
            patch.install()


def end_listening(listeners: list[_Listener], listener: _Listener, patches: Sequence[ModulePatch]) -> None:
    """It listens no more: with the last the stand-ins are gone."""
    listeners.remove(listener)
    if not listeners:
        for patch in reversed(patches):
            patch.remove()
