"""The context-independent layer of a biLM: one vector per word."""

from typing import List, Optional, Union

import torch
from torch import Tensor, nn

from .char_cnn import CharacterEncoder


class TokenEncoder(nn.Module):
    """Encode words from their characters, from a table of words, or from both.

    The published English biLMs read characters; bilm-tf can also train on whole
    words; ELMoForManyLangs puts a word's own vector before that of its characters.

    output_dim (int): Width of a word vector.
    characters (Optional[CharacterEncoder]): Reads the characters.
    n_words (int): Size of the table of words, 0 for none.
    word_dim (int): Width of the table's vectors.
    project (Optional[bool]): Whether a linear layer maps to `output_dim`; `None`
        for only where the widths differ, as bilm-tf does it.
    """

    def __init__(
        self,
        output_dim: int,
        *,
        characters: Optional[CharacterEncoder] = None,
        n_words: int = 0,
        word_dim: int = 0,
        project: Optional[bool] = None,
    ) -> None:
        super().__init__()
        # Row 0 is for masked positions.
        self.words = (
            nn.Embedding(n_words + 1, word_dim, padding_idx=0) if n_words else None
        )
        self.characters = characters
        width = word_dim if n_words else 0
        width += characters.output_dim if characters is not None else 0
        if self.words is not None:
            nn.init.uniform_(self.words.weight, -1.0, 1.0)
            with torch.no_grad():
                self.words.weight[0].zero_()
        self.projection: Union[nn.Linear, nn.Identity] = nn.Identity()
        if project or (project is None and width != output_dim):
            self.projection = nn.Linear(width, output_dim)
            nn.init.normal_(self.projection.weight, std=width**-0.5)
            nn.init.zeros_(self.projection.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Encode words.

        ids (Tensor): For each word its number in the table, if there is one, then
            its characters, if they are read; all from 1, 0 masks a position.
            *Shape:* `(n_words, n_columns)`
        RETURNS (Tensor): Word vectors. *Shape:* `(n_words, output_dim)`
        """
        parts: List[Tensor] = []
        if self.words is not None:
            parts.append(self.words(ids[:, 0]))
            ids = ids[:, 1:]
        if self.characters is not None:
            parts.append(self.characters(ids))
        return self.projection(torch.cat(parts, dim=1))
