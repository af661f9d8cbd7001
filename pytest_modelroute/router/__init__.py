"""A compact router: the subject of this project's own tests and examples, and a start for newcomers."""

from pytest_modelroute.router.classifier import LLMClassifier
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.requests import Estimate, ModelRequest, ModelResponse
from pytest_modelroute.router.router import ModelRouter

__all__ = ["Estimate", "LLMClassifier", "ModelClient", "ModelRequest", "ModelResponse", "ModelRouter"]
