"""What people said of pictures: events, where they are kept, and what they add up to now."""

from safelight.learning.ratings.current_ratings import Rating, Ratings, current_ratings
from safelight.learning.ratings.picture_scores import PictureScore, PictureScores, picture_scores
from safelight.learning.ratings.picture_set import PictureSet
from safelight.learning.ratings.rating_event import (
    AUTOMATIC,
    KINDS,
    MANY,
    RATING_SCHEMA,
    SCORE,
    Identity,
    Pictures,
    RatingEvent,
    events_in_force,
    new_event_id,
)
from safelight.learning.ratings.rating_store import RatingStore, ratings_folder

__all__ = [
    "AUTOMATIC",
    "KINDS",
    "MANY",
    "RATING_SCHEMA",
    "SCORE",
    "Identity",
    "PictureScore",
    "PictureScores",
    "PictureSet",
    "Pictures",
    "Rating",
    "RatingEvent",
    "RatingStore",
    "Ratings",
    "current_ratings",
    "events_in_force",
    "new_event_id",
    "picture_scores",
    "ratings_folder",
]
