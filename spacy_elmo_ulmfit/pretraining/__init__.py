"""Language model training: raw text to streams, the loop, checkpoints, perplexity."""
