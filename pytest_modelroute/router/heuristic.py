"""The heuristic classifier: how hard a request is by its length, its code and its questions; without a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pytest_modelroute.router.calls import RequestContext
from pytest_modelroute.router.classifier import CATEGORIES, Classifier, labels_of

_CODE: Final = re.compile(
    r"```"
    r"|^\s{0,20}(?:async def|def|class) \w{1,80}\s?[(:]"  # Python
    r"|^(?:from \w[\w.]{0,80} import|import \w[\w.]{0,80}(?: as \w{1,80})?\n)"
    r"|\b(?:function|fn|func)\s\w{0,80}\("  # JavaScript, Rust, Go
    r"|\b(?:const|let|var) \w{1,80}\s?="
    r"|^#include\s?[<\"]"  # C
    r"|\bSELECT\s[^;\n]{1,200}\sFROM\s"  # SQL, in the case in which it is written
    r"|^Traceback \(most recent call last\)"
    r"|(?:[{}]|\);)\n",
    re.MULTILINE,
)
"No alternative looks ahead, so that what follows a line of code cannot make prose of it."


class HeuristicClassifier(Classifier):
    """
    Counts points: LOW with none, MEDIUM with one, HIGH with more.

    One point for 40 words or more and another for 150 or more (words are what white space parts); one for code (a
    fence, or a line that reads like Python, JavaScript, SQL ...); one for two question marks or more and another for
    four or more. More text never lowers the category, and no text raises an error.
    """

    WORDS: Final = (40, 150)
    QUESTIONS: Final = (2, 4)
    SEARCHED: Final = 20_000
    "Code is looked for in so many characters: a prompt may be a book."

    def __init__(self, *, labels: Mapping[str, str] | None = None) -> None:
        """
        Needs no model.

        Args:
            labels: Category -> tier; LOW, MEDIUM and HIGH are small, medium and large where left out.

        """
        self._labels = dict(labels_of(("small", "medium", "large")) if labels is None else labels)

    def category(self, prompt: str) -> str:
        """LOW, MEDIUM or HIGH."""
        words, questions = len(prompt.split()), prompt.count("?") + prompt.count("？")  # noqa: RUF001 - as Chinese asks
        points = sum(words >= bound for bound in self.WORDS) + sum(questions >= bound for bound in self.QUESTIONS)
        points += _CODE.search(prompt, 0, self.SEARCHED) is not None
        return CATEGORIES[min(points, len(CATEGORIES) - 1)]

    def classify(self, prompt: str, *, context: RequestContext | None = None) -> str:  # noqa: ARG002 - it calls nobody
        """The tier for a prompt."""
        return self._labels[self.category(prompt)]
