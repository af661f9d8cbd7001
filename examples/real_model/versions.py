"""Four ways to rate how hard a question is: the one in use, and three that ask the small model."""

from dataclasses import replace

from examples.real_model.app import QuestionDesk, client, one_of, shown
from pytest_modelroute.router import Classifier, LLMClassifier, ModelClient, ModelRequest
from pytest_modelroute.router.calls import RequestContext
from pytest_modelroute.router.classifier import CATEGORIES


class ByKind(Classifier):
    """A rule that asks nobody: code goes to the medium model, formulas to the large one, all else to the small one."""

    def classify(self, prompt: str, *, context: RequestContext | None = None) -> str:  # noqa: ARG002 - it calls nobody
        """The tier for a question."""
        if "def " in prompt:
            return "medium"
        has_formulas = "\\" in prompt or prompt.count("$") > 3  # LaTeX; a price or two is no formula
        return "large" if has_formulas else "small"


class PlainPrompt(LLMClassifier):
    """The classifier of the package as it comes: a prompt that asks for LOW, MEDIUM or HIGH."""


class WithGrammar(LLMClassifier):
    """The same prompt, and a grammar that lets nothing through but a label."""

    def request(self, prompt: str) -> ModelRequest:
        """The question for a prompt."""
        asked = super().request(prompt)
        return replace(asked, params={**asked.params, "grammar": one_of(CATEGORIES)})


class WithExamples(LLMClassifier):
    """The same prompt, and four examples of questions with their labels."""

    EXAMPLES = (
        ("What is the capital of France?", "LOW"),
        ("Tom has 3 boxes of 12 eggs and sells 20. How many are left?", "MEDIUM"),
        ("Prove that the sum of two odd numbers is even.", "HIGH"),
        ("Where do fish live?", "LOW"),
    )

    def request(self, prompt: str) -> ModelRequest:
        """The question for a prompt."""
        return replace(super().request(prompt), history=shown(self.EXAMPLES))


IN_USE = "by_kind"
VERSIONS: dict[str, type[Classifier]] = {
    "by_kind": ByKind,
    "plain_prompt": PlainPrompt,
    "with_grammar": WithGrammar,
    "with_examples": WithExamples,
}


def classifier(version: str, sender: ModelClient) -> Classifier:
    """A classifier by its name."""
    kind = VERSIONS[version]
    return kind(sender, "small") if issubclass(kind, LLMClassifier) else kind()


def desk(version: str) -> QuestionDesk:
    """The application with one of the classifiers."""
    sender = client()
    return QuestionDesk(classifier(version, sender), sender)
