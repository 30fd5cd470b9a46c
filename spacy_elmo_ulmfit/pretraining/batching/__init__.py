"""Numbered tokens to what a language model reads and predicts in one step.

`layout` knows how each kind of model sees a text, `stream_rows` and `sentence_batches` are
the two ways to cut it, `windows` puts them in order, `training_text` keeps the place.
"""
