"""Character CNN with highways, by which a biLM reads words it has never seen.

Kim et al. 2016 (arXiv:1508.06615), with the sizes and activations of the published
biLM (Peters et al. 2018, arXiv:1802.05365).
"""

from typing import List, Sequence, Tuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .prepared import Prepared

# 256 bytes, four boundary markers and the padding inside a word; 0 masks a position.
N_CHARACTERS = 262
PADDING_CHARACTER = 261

# Words convolved at a time: what their windows take is to stay in the cache.
_CHUNK_WORDS, _PREDICT_WORDS = 512, 64
# On a GPU starting kernels takes the time.
_GPU_WORDS = 4096


class Highway(nn.Module):
    """One highway layer: `g * relu(W_t x + b_t) + (1 - g) * x`, `g = sigmoid(W_g x + b_g)`.

    width (int): Width of input and output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        nn.init.normal_(self.transform.weight, std=width**-0.5)
        nn.init.normal_(self.gate.weight, std=width**-0.5)
        nn.init.zeros_(self.transform.bias)
        # Starts out carrying the input through, as published.
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `(n, width)` to `(n, width)`."""
        return torch.lerp(
            inputs, self.transform(inputs).relu(), torch.sigmoid(self.gate(inputs))
        )


class CharacterEncoder(nn.Module):
    """Encode words from their characters.

    char_dim (int): Width of a character embedding.
    filters (Sequence[Tuple[int, int]]): `(width, number)` of each convolution.
    n_highway (int): Number of highway layers.
    activation (str): `"relu"` or `"tanh"`, applied after pooling over time.
    n_characters (int): Number of characters, the masking one included.
    padding_character (int): The character that fills a word up.
    """

    def __init__(
        self,
        *,
        char_dim: int,
        filters: Sequence[Tuple[int, int]],
        n_highway: int,
        activation: str,
        n_characters: int = N_CHARACTERS,
        padding_character: int = PADDING_CHARACTER,
    ) -> None:
        super().__init__()
        self.output_dim = sum(number for _, number in filters)
        self.padding_character = padding_character
        self.activation = {"relu": torch.relu, "tanh": torch.tanh}[activation]
        self.max_width = max(width for width, _ in filters)
        self.embedding = nn.Embedding(n_characters, char_dim, padding_idx=0)
        nn.init.uniform_(self.embedding.weight, -1.0, 1.0)
        with torch.no_grad():
            self.embedding.weight[0].zero_()
        convolutions = [nn.Conv1d(char_dim, number, width) for width, number in filters]
        self.convolutions = nn.ModuleList(convolutions)
        for convolution in convolutions:
            nn.init.uniform_(convolution.weight, -0.05, 0.05)
            nn.init.zeros_(cast(Tensor, convolution.bias))
        self.highways = nn.ModuleList(
            Highway(self.output_dim) for _ in range(n_highway)
        )
        self._prepared: Prepared[List[Tensor]] = Prepared()

    def forward(self, char_ids: Tensor) -> Tensor:
        """Encode words.

        char_ids (Tensor): Character ids of each word. *Shape:* `(n_words, max_chars)`
        RETURNS (Tensor): *Shape:* `(n_words, output_dim)`, the sum of the filters
        """
        # Words of like length together, so that each chunk is cut to its longest.
        order = torch.argsort((char_ids != self.padding_character).sum(dim=1))
        if torch.is_grad_enabled():
            self._prepared.clear()
            convolve, size = self._convolve, _CHUNK_WORDS
        else:
            convolve, size = self._look_up, _PREDICT_WORDS
        if char_ids.device.type == "cuda":
            size = _GPU_WORDS
        chunks = [convolve(char_ids[rows]) for rows in order.split(size)]
        hidden = torch.cat(chunks)[torch.argsort(order)]
        for highway in self.highways:
            hidden = highway(hidden)
        return hidden

    def _convolve(self, char_ids: Tensor) -> Tensor:
        embedded = self.embedding(self._trim(char_ids)).transpose(1, 2)
        pooled = [
            self.activation(convolution(embedded).amax(dim=2))
            for convolution in self.convolutions
        ]
        return torch.cat(pooled, dim=1)

    def _look_up(self, char_ids: Tensor) -> Tensor:
        """Convolve by sums of products that are known for every character and place."""
        char_ids, pooled = self._trim(char_ids), []
        tables = self._prepared.get(self._multiply_filters, self._weights)
        n_words, n_characters = len(char_ids), self.embedding.num_embeddings
        for convolution, table in zip(self._convolutions, tables):
            width = convolution.kernel_size[0]
            places = torch.arange(width, device=char_ids.device) * n_characters
            windows = char_ids.unfold(1, width, 1) + places
            sums = F.embedding_bag(windows.reshape(-1, width), table, mode="sum")
            maxima = sums.view(n_words, windows.shape[1], -1).amax(dim=1)
            pooled.append(self.activation(maxima + cast(Tensor, convolution.bias)))
        return torch.cat(pooled, dim=1)

    def _multiply_filters(self) -> List[Tensor]:
        """Return the products of each filter with every character at each of its places.

        RETURNS (List[Tensor]): `(width * n_characters, number)` for each convolution.
        """
        # Exact to the last digit, so that sums are no less exact than a convolution.
        embedding = self.embedding.weight.detach().double()
        return [
            torch.einsum("cd,ndw->wcn", embedding, convolution.weight.detach().double())
            .flatten(0, 1)
            .to(convolution.weight.dtype)
            .contiguous()
            for convolution in self._convolutions
        ]

    @property
    def _convolutions(self) -> List[nn.Conv1d]:
        return cast(List[nn.Conv1d], list(self.convolutions))

    @property
    def _weights(self) -> List[Tensor]:
        # A bias comes last: every step of an optimizer changes it.
        return [self.embedding.weight, *self.convolutions.parameters()]

    def _trim(self, char_ids: Tensor) -> Tensor:
        """Cut positions that are padding in every word.

        Exact: all windows that lie wholly in the padding are equal, so one is enough.
        """
        used = (char_ids != self.padding_character).any(dim=0).nonzero()
        longest = int(used[-1]) + 1 if len(used) else 0
        return char_ids[:, : longest + self.max_width]
