"""What is left of a run, and what goes on from it.

`run_checkpoints` is the way in; `checkpoint` is the file, `saving` writes the pipelines.
"""
