"""Scores from ratings, and what they say of the settings that made the pictures."""
