"""The wire: where a call of a provider is seen, answered and timed."""
