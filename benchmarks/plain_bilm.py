"""A biLM computed the plain way: what the benchmarks of speed compare with.

As the older tools do it: characters of every word of a padded batch are convolved, 50
positions each; each step of each layer is two products and its gates, one after the
other. The weights are those of a `BiLM`.
"""

from typing import List, Sequence, Tuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spacy_elmo_ulmfit.modules.bilm import BiLM
from spacy_elmo_ulmfit.modules.char_cnn import CharacterEncoder
from spacy_elmo_ulmfit.modules.projected_lstm import ProjectedLSTM


class PlainBiLM:
    """A biLM over padded batches.

    bilm (BiLM): The biLM whose weights it has; one that reads characters, from zeros.
    """

    def __init__(self, bilm: BiLM) -> None:
        self.bilm = bilm

    @torch.no_grad()
    def layers(self, char_ids: Tensor, lengths: Sequence[int]) -> List[Tensor]:
        """Compute all layers of each sentence.

        char_ids (Tensor): Character ids, zeros after the end of a sentence.
            *Shape:* `(batch, n_tokens, max_chars)`
        lengths (Sequence[int]): Words of each sentence, boundaries included.
        RETURNS (List[Tensor]): `(n_layers + 1, length, width)` for each sentence.
        """
        batch, n_tokens, max_chars = char_ids.shape
        words = self._words(char_ids.view(-1, max_chars)).view(batch, n_tokens, -1)
        halves = [
            self._read(
                words, lengths, _layers(self.bilm.forward_layers), backward=False
            ),
            self._read(
                words, lengths, _layers(self.bilm.backward_layers), backward=True
            ),
        ]
        layers = torch.stack([torch.cat(pair, dim=2) for pair in zip(*halves)])
        return [layers[:, row, :length] for row, length in enumerate(lengths)]

    def _words(self, char_ids: Tensor) -> Tensor:
        encoder = self.bilm.token_encoder.characters
        assert isinstance(encoder, CharacterEncoder)
        embedded = encoder.embedding(char_ids).transpose(1, 2)
        pooled = [
            encoder.activation(convolution(embedded).amax(dim=2))
            for convolution in encoder.convolutions
        ]
        hidden = torch.cat(pooled, dim=1)
        for highway in encoder.highways:
            hidden = highway(hidden)
        return self.bilm.token_encoder.projection(hidden)

    def _read(
        self,
        inputs: Tensor,
        lengths: Sequence[int],
        layers: Sequence[ProjectedLSTM],
        *,
        backward: bool,
    ) -> List[Tensor]:
        n_steps = inputs.shape[1]
        steps = range(n_steps)[::-1] if backward else range(n_steps)
        running = torch.tensor(lengths).unsqueeze(1) > torch.arange(n_steps)
        outputs = [inputs]
        for number, layer in enumerate(layers):
            hidden = inputs.new_zeros(len(inputs), layer.weight_hh.shape[1])
            cell = inputs.new_zeros(len(inputs), layer.weight_hh.shape[0] // 4)
            output = torch.zeros_like(inputs)
            for step in steps:
                now = running[:, step].unsqueeze(1)
                new_hidden, new_cell = _step(layer, inputs[:, step], hidden, cell)
                hidden = torch.where(now, new_hidden, hidden)
                cell = torch.where(now, new_cell, cell)
                output[:, step] = torch.where(now, new_hidden, 0.0)
            inputs = output + inputs if number else output
            outputs.append(inputs)
        return outputs


def _layers(modules: nn.ModuleList) -> List[ProjectedLSTM]:
    return cast(List[ProjectedLSTM], list(modules))


def _step(
    layer: ProjectedLSTM, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> Tuple[Tensor, Tensor]:
    gates = torch.mm(inputs, layer.weight_ih.t())
    gates = gates + torch.mm(hidden, layer.weight_hh.t()) + layer.bias
    in_gate, forget, candidate, out_gate = gates.chunk(4, dim=1)
    cell = torch.sigmoid(forget + layer.forget_offset.chunk(4)[1]) * cell
    cell = cell + torch.sigmoid(in_gate) * torch.tanh(candidate)
    if layer.cell_clip is not None:
        cell = cell.clamp(-layer.cell_clip, layer.cell_clip)
    hidden = torch.sigmoid(out_gate) * torch.tanh(cell)
    if layer.weight_hr is not None:
        hidden = F.linear(hidden, layer.weight_hr)
        if layer.proj_clip is not None:
            hidden = hidden.clamp(-layer.proj_clip, layer.proj_clip)
    return hidden, cell
