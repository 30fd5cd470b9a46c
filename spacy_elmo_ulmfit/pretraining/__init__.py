"""Language model training: raw text to shards and windows, the loop, what it leaves.

In the order in which a run goes through them:

- `config`, `setup`: from a config to a trainer. `vocabulary_mapping`: a trained model for
  other words; `student`: a new one that learns from it.
- `corpus`: raw text, read once and in parallel, to shards of numbered tokens.
- `batching`: shards to what a model reads and predicts in one step.
- `loop`: the loop. `losses`: what is learnt; `steps`: how weights change; `workers`:
  several processes.
- `evaluate`, `watching`: how well it goes.
- `resuming`: what is left of a run, and what goes on from it.
- `generate`, `writers`: text from a trained model.
"""
