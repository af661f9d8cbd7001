"""Recorded providers: vcrpy's cassettes with an index, what is known of each call, scrubbing and safe saving."""
