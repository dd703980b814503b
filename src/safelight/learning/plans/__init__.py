"""Plans that find something out: designs, what they cost, and what to try next."""
