"""Callbacks and schedules for `spacy train`."""
