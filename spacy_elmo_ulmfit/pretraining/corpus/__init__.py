"""Raw text to shards of numbered tokens on disk, in bounded memory.

`sources` finds the files of a corpus, `files` opens them, `corpora` cuts them into texts,
`reading` numbers their tokens, in parallel; `stream` is the result in memory, `shards` the
same on disk. `preparation` reuses what was read before; `word_counts` makes vocabularies.
"""
