"""A busy machine must not fail a law: hypothesis times its examples unless told not to."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
