"""From losses to new weights: optimizers, clipping, precision, which layers learn."""
