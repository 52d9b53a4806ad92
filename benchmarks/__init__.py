"""Programs that print figures, each beside a named reference, in one run."""
