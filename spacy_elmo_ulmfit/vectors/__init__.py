"""A language model's vectors outside spaCy: in files, and as features of scikit-learn."""
