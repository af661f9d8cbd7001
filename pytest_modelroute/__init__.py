"""Regression tests for model routing, as a pytest plugin."""
