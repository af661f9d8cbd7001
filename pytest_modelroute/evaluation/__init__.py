"""Evaluation of a step: cases, scores, statistics, limits."""
