"""`RoutingInvariants`: how a user says what their router is, how it is asked, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from decimal import Decimal

    from pytest_modelroute.invariants.laboratory import Providers
    from pytest_modelroute.invariants.promises import AgentPromise, BudgetPromise, Capability, Cascade, Classifier
    from pytest_modelroute.invariants.requests import RoutingRequest
    from pytest_modelroute.invariants.scenes import Scene

ALWAYS: Final = "totality"
"The law whose test carries what is wrong with a class, since every class has it."


class RoutingInvariants:
    """
    Property-based checks of a router: derive a class whose name begins with Test, and promise what the router promises.

    Each promise switches on the laws that its docstring names; what is not promised is not checked. `tiers`,
    `make_router` and `ask` must be there. Each law is a test of its own, `test_<law>`.
    """

    tiers: ClassVar[Sequence[str]] = ()
    """
    The models as asked for on the wire, weakest first: totality, determinism, encoding_invariance, bounded_work,
    no_aliasing, offline_construction.
    """
    safe_tier: ClassVar[str | None] = None
    "Where requests go whose classification fails: classifier_fail_safe."
    classifier: ClassVar[Classifier | None] = None
    """
    A model that the router asks for a label, which the harness answers: classifier_labels, classifier_fail_safe,
    classifier_overhead.
    """
    fallbacks: ClassVar[Mapping[str, Sequence[str]] | None] = None
    "Model -> who is asked when it fails, in order: no_fallback_on_caller_error, no_spurious_fallback, chain_order."
    recoverable: ClassVar[set[str] | frozenset[str] | Sequence[str] | None] = None
    "The error classes that reach the next candidate: fallback_on_class."
    retries: ClassVar[int | None] = None
    "How often one candidate is asked again, the client library's own retries included: bounded_work."
    deadline: ClassVar[float | None] = None
    "Seconds that a whole request may take: deadline."
    honours_retry_after: ClassVar[bool] = False
    "Whether an attempt waits as long as the last answer of its host asked: retry_after."
    cooldown: ClassVar[float | Mapping[str, float] | None] = None
    "Seconds that a model rests after it failed, or one number for each model; 0 for off: cooldown."
    streams: ClassVar[bool] = False
    "Whether it streams: stream_parity, and requests of other laws stream too."
    budget: ClassVar[BudgetPromise | None] = None
    "What may be spent: price_known, budget_ceiling, budget_ladder, budget_window."
    max_overdraft: ClassVar[float | Decimal | str] = 0
    "USD by which the cap may be exceeded."
    critical: ClassVar[Any] = None
    "A function of the request that says which ones are never downgraded: critical_kept."
    cascade: ClassVar[Cascade | Sequence[str] | Mapping[str, Any] | bool | None] = None
    "A cheap answer first, the next tier where a gate rejects it: escalation, confidence_parsing."
    hedge_after: ClassVar[float | None] = None
    "Seconds after which a second model is asked; 0 for several at once: speculation."
    golden: ClassVar[str | Sequence[Any] | None] = None
    "Cases with their expected routes, a file or a list: golden_routes."
    equivalences: ClassVar[Sequence[Any] | Mapping[str, Any]] = ()
    """
    Rewrites that must not move a route (whitespace, case, preamble, typos, or functions): equivalence,
    no_instruction_override.
    """
    monotone: ClassVar[Any] = ()
    "True, or what makes a prompt clearly harder: monotone_difficulty."
    load_balanced: ClassVar[Mapping[str, float] | Sequence[str] | bool | None] = None
    "Candidate -> weight; requests are split among them: order_independence; determinism is not asked for."
    parameters: ClassVar[Mapping[str, Mapping[str, Any]] | None] = None
    "Model -> what it must be sent beyond the caller's own parameters: parameters_preserved."
    steps: ClassVar[Mapping[str, Any] | None] = None
    "Step -> its model, None for a tool, or a function of the request: workflow."
    agents: ClassVar[Mapping[str, AgentPromise | str | Mapping[str, Any]] | None] = None
    "Agent -> its model and tools: agents."
    coordinator: ClassVar[str | None] = None
    "The model that the agents' coordinator asks itself."
    capabilities: ClassVar[Mapping[str, Capability | Mapping[str, Any]] | None] = None
    "Model -> what it can serve: capability."
    categories: ClassVar[Mapping[str, str] | None] = None
    'What a request may name -> the tier, with "category" in options: explicit_route.'
    options: ClassVar[Sequence[str]] = ()
    "The switches that a request may carry, for `ask` to pass on: opt_outs, explicit_route."
    refuses: ClassVar[Any] = ()
    "Exceptions that are documented refusals, such as ValueError for an empty prompt."
    helpers: ClassVar[Sequence[str]] = ()
    "Other models that the router may ask: judges, guards, rewriters."
    answers: ClassVar[str | Callable[[Any], str] | None] = None
    "What models answer, where the router reads it: a text, or a function of the provider call."
    corpus: ClassVar[Sequence[str]] = ()
    "Prompts of your own application."
    prices: ClassVar[Mapping[str, Any] | None] = None
    "Model -> (input, output, cache_read, cache_write) in USD per million tokens, where they differ from genai-prices."
    known_violations: ClassVar[Mapping[str, str]] = {}
    "Law -> why it is known to be broken, with a link: it is expected to fail, and fails when it no longer does."

    spend_of: Any = None
    "spend_of(self, router): USD that the router says it has spent: cost_exact, spend_complete."
    cost_of: Any = None
    "cost_of(self, router, response): USD that the router says a response cost: cost_exact."
    stream: Any = None
    "stream(self, router, request): asked in place of `ask` where request.stream is set; an iterator of chunks."

    _modelroute_problem: ClassVar[str | None] = None

    def make_router(self, providers: Providers) -> Any:
        """
        Build a router as production does; called for every example, and must return a new one each time.

        Args:
            providers: Addresses, keys and clocks, for a router that takes them: `.url(name)`, `.key(name)`,
                `.monotonic`, `.wall_clock`, `.sleep`, `.http_client()`. A router that takes none is intercepted.

        """
        raise NotImplementedError

    def ask(self, router: Any, request: RoutingRequest) -> Any:
        """
        Ask the router; may be async.

        Returns:
            Its answer: a text, a response object, or an iterator of chunks.

        """
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        """Bind the laws that this class's promises switch on: one test each."""
        super().__init_subclass__(**options)
        from pytest_modelroute.invariants.binding import bind

        bind(cls)

    @classmethod
    def check(cls, law: str, *scenes: Scene) -> None:
        """
        Play scenes and judge them by one law: what a regression test calls. Needs no fixture.

        Raises:
            AssertionError: The law is broken; says how.
            PromiseError: There is no such law, or it does not bind this class.
            SubjectError: The router cannot be built or asked.

        """
        __tracebackhide__ = True
        from pytest_modelroute.invariants.checking import check_scenes

        report = check_scenes(cls, law, scenes)
        if report is not None:
            raise AssertionError(report)
