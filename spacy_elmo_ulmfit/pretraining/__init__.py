"""Language model training: raw text to shards and windows, the loop, what it leaves.

In the order in which a run goes through them:

- `config`, `setup`: from a config to a trainer.
- `files`, `sources`, `corpora`, `reading`, `stream`, `shards`, `preparation`,
  `word_counts`: raw text, read once and in parallel, to shards of numbered tokens.
- `layout`, `training_text`, `stream_rows`, `sentence_batches`, `windows`: shards to what a
  model reads and predicts in one step.
- `objectives`, `word_losses`, `target_vectors`, `distillation`, `student`: what is learnt.
- `loop`: the loop; `gradient_step`, `optimizers`, `averaging`, `freezing`, `precision`:
  its steps; `workers`: several processes.
- `evaluate`, `progress`, `loggers`, `report`, `lr_range`, `lr_plot`: how well it goes.
- `run_checkpoints`, `checkpoint`, `carried_state`, `random_states`, `run_settings`, `signals`, `saving`: what
  is left of a run, and what goes on from it.
- `vocabulary_mapping`: a trained model for other words.
- `generate`, `writers`: text from a trained model.
"""
