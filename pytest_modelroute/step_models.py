"""Which models a step asks beside its own, and which ways of asking them exclude each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def wrong_chain(where: str, chain: Sequence[str]) -> Iterator[str]:
    """What is wrong with a chain of fallbacks, the step's own model first."""
    for alias in sorted(alias for alias in set(chain) if chain.count(alias) > 1):
        shown = " -> ".join(chain)
        yield f"{where}.fallbacks: the chain {shown} comes back to {alias!r}; name each candidate once"


def wrong_cascade(where: str, *, model: str, cascade: Sequence[str], ranks: Sequence[int]) -> Iterator[str]:
    """What is wrong with a cascade; `ranks` are those of its models in the order of the tiers, weakest 0."""
    if len(set(cascade)) < len(cascade) or list(ranks) != sorted(ranks):
        shown = " -> ".join(cascade)
        yield f"{where}.cascade: {shown} was found; each model once, weakest first, was expected"
    if model not in (cascade[0], "dynamic"):
        yield f"{where}.model is {model!r}, but its cascade begins with {cascade[0]!r}; leave model out"


def wrong_speculation(
    where: str,
    *,
    model: str,
    speculate: Sequence[str] | None,
    hedge_after: float,
    cascade: Sequence[str],
    fallbacks: Sequence[str],
) -> Iterator[str]:
    """What is wrong with asking several models at once; None for a step that does not."""
    if speculate is None:
        if hedge_after:
            yield f"{where}.hedge_after is for a step that asks several models; name them in speculate"
        return
    if len(speculate) < 2:  # noqa: PLR2004 - a race of one is none
        yield f"{where}.speculate names {len(speculate)} model(s); two at least are asked at once, or leave it out"
    for alias in sorted(alias for alias in set(speculate) if speculate.count(alias) > 1):
        yield f"{where}.speculate names {alias!r} twice; each model is asked once, so name it once"
    if speculate and speculate[0] != model:
        yield (
            f"{where}.speculate begins with {speculate[0]!r}, but the step's model is {model!r}, which is asked first; "
            "name it first"
        )
    if cascade:
        yield f"{where} has both cascade and speculate: one model after the other, or several at once; choose one"
    if fallbacks:
        yield f"{where} has both fallbacks and speculate, which goes on to its next model too; name all there"
