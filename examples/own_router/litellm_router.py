"""litellm.Router: two groups of models, each with a fallback."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network for prices when imported

import litellm

MODELS = {
    "easy": "openai/gpt-5-mini",
    "hard": "openai/gpt-5",
    "easy-backup": "anthropic/claude-haiku-4-5",
    "hard-backup": "anthropic/claude-sonnet-4-6",
}


def build(*, cooldowns: bool = True) -> litellm.Router:
    """Each model is asked twice at most, and rests for half a minute after a failure."""
    return litellm.Router(
        model_list=[
            {"model_name": group, "litellm_params": {"model": model, "max_retries": 0}}
            for group, model in MODELS.items()
        ],
        fallbacks=[{"easy": ["easy-backup"]}, {"hard": ["hard-backup"]}],
        num_retries=1,
        allowed_fails=0,
        cooldown_time=30,
        disable_cooldowns=not cooldowns,
    )


def group_for(question: str) -> str:
    """Long questions are hard ones."""
    return "hard" if len(question.split()) > 60 else "easy"


def answer(router: litellm.Router, question: str) -> str:
    """The whole answer."""
    reply: Any = router.completion(group_for(question), [{"role": "user", "content": question}])
    return reply.choices[0].message.content or ""


async def aanswer(router: litellm.Router, question: str) -> str:
    """The whole answer, in async code."""
    reply: Any = await router.acompletion(group_for(question), [{"role": "user", "content": question}])
    return reply.choices[0].message.content or ""
