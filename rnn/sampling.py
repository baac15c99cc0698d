"""Writing with a language model: each token drawn from what the model says of the next one.

B texts, T tokens so far, V tokens of the vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rnn.model import SequenceModel

START_ID, END_ID = 2, 3
# Padding, what the vocabulary lacks, and the start of a text are never written.
SILENT = (0, 1, START_ID)


@dataclass(frozen=True)
class Choice:
    """How a token is chosen among the likely ones.

    Attributes:
        temperature: below 1 likely tokens become likelier; above 1 they become less so.
        top_k: only so many of the likeliest; None for all.
        top_p: only the likeliest that together have this probability; 1 for all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what chooses nothing."""
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature:g} must be above 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k = {self.top_k} must be at least 1")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p:g} must be above 0 and at most 1")


def chances(logits: Tensor, choice: Choice) -> Tensor:
    """Return the probability of each token to be written, float64 [B, V].

    Args:
        logits: float [B, V].
        choice: applied in the order temperature, top_k, top_p.

    Source: Holtzman, Buys, Du, Forbes, Choi (2020), "The curious case of neural text degeneration",
    section 3.1.

    Example:
        >>> chances(torch.tensor([[0.0, 0.0, 0.0, 2.0, 1.0]]), Choice(top_k=1)).tolist()
        [[0.0, 0.0, 0.0, 1.0, 0.0]]
    """
    scaled = logits.double() / choice.temperature
    scaled[:, list(SILENT)] = float("-inf")
    if choice.top_k is not None and choice.top_k < scaled.shape[1]:
        least = scaled.topk(choice.top_k, 1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, float("-inf"))
    found = scaled.softmax(1)
    if choice.top_p < 1:
        # Equal ones in the order of their ids.
        falling, order = found.sort(dim=1, descending=True, stable=True)
        before = falling.cumsum(1) - falling
        kept = torch.zeros_like(found).scatter_(1, order, (before < choice.top_p).double())
        found = found * kept
    return found / found.sum(1, keepdim=True)


@torch.no_grad()
def written(
    model: SequenceModel,
    count: int,
    *,
    steps: int,
    choice: Choice,
    seed: int,
    begin: tuple[int, ...] = (),
) -> list[list[int]]:
    """Return texts that a language model writes, without start and end.

    Args:
        model: of task next_token, in evaluation mode, on the CPU.
        count: how many.
        steps: tokens of a text at most, those of `begin` among them.
        choice: of each token.
        seed: the same texts for the same seed; text k is the same whatever the count.
        begin: ids that every text begins with.

    Raises:
        ValueError: the model reads more than tokens.
    """
    if model.shape.static_size:
        raise ValueError("the model reads static channels, which a text that is made up has not")
    texts = []
    for number in range(count):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        text = [START_ID, *begin]
        while len(text) <= steps:
            inputs = torch.tensor([text])
            logits = model(inputs, torch.tensor([len(text)]), torch.zeros(1, 0))[:, -1]
            token = int(torch.multinomial(chances(logits, choice), 1, generator=generator))
            if token == END_ID:
                break
            text.append(token)
        texts.append(text[1:])
    return texts
