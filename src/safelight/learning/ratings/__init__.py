"""What people said of pictures: events, where they are kept, and what they add up to now."""

from safelight.learning.ratings.current_ratings import Rating, Ratings, current_ratings
from safelight.learning.ratings.rating_event import (
    KINDS,
    RATING_SCHEMA,
    Identity,
    Pictures,
    RatingEvent,
    events_in_force,
    new_event_id,
)
from safelight.learning.ratings.rating_store import RatingStore, ratings_folder

__all__ = [
    "KINDS",
    "RATING_SCHEMA",
    "Identity",
    "Pictures",
    "Rating",
    "RatingEvent",
    "RatingStore",
    "Ratings",
    "current_ratings",
    "events_in_force",
    "new_event_id",
    "ratings_folder",
]
