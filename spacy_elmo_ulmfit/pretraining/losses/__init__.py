"""What is learnt: `objectives` of the two kinds of language model, over `word_losses`.

`target_vectors` are given word vectors in place of a softmax, `distillation` learns from
a teacher.
"""
