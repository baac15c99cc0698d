"""What is explained: one output of each person, as a function of what went in.

B people, T the longest sequence among them, E embedded width, S static channels, F features of
the sequence, G static features, d places of an index.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnn.batch import SequenceBatch
from rnn.model import SequenceModel, real_steps
from rnn.tape import Recorded
from tasks.explaining.scores import SCORES, Forward

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@dataclass(frozen=True)
class Groups:
    """Which feature each channel belongs to, numbered from 0.

    Attributes:
        sequence: int64 [E], features 0..F-1.
        static: int64 [S], features 0..G-1.
    """

    sequence: Tensor
    static: Tensor

    @property
    def sizes(self) -> tuple[int, int]:
        """Return F and G."""
        return tuple(int(x.max()) + 1 if len(x) else 0 for x in (self.sequence, self.static))  # type: ignore[return-value]


@dataclass(frozen=True)
class Question:
    """One number of each person.

    Of a classifier it is one of C logits, of a language model how likely a token is after a step:
    tasks.explaining.scores has one for every kind.

    Attributes:
        forward: embedded [n, T, E], lengths [n], static [n, S], index [n, d] -> [n].
        embedded: float [B, T, E].
        lengths: int64 [B].
        static: float [B, S].
        index: int64 [B, d], which output of each person is meant.
    """

    forward: Forward
    embedded: Tensor
    lengths: Tensor
    static: Tensor
    index: Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths)

    def take(self, rows: Tensor) -> "Question":
        """Return the question about some people, as long as the longest of them."""
        lengths = self.lengths[rows]
        steps = int(lengths.max())
        return Question(
            self.forward, self.embedded[rows, :steps], lengths, self.static[rows], self.index[rows]
        )

    def answer(self, embedded: Tensor, static: Tensor, who: Tensor) -> Tensor:
        """Return the explained output of some inputs.

        Args:
            embedded: float [n, t, E]; t may be less than T where nobody of `who` is longer.
            static: float [n, S].
            who: int64 [n], the person of each.

        Returns:
            float [n].
        """
        return self.forward(embedded, self.lengths[who], static, self.index[who])

    def answer_with(self, present: Tensor, fixed: Tensor, groups: Groups, who: Tensor) -> Tensor:
        """Return the output where some cells are at their baseline of zero.

        Args:
            present: float [n, t, F], 1 where a cell keeps its value, 0 where it is taken away.
            fixed: float [n, G], the same for static features.
            groups: the channels of each feature.
            who: int64 [n].
        """
        steps = present.shape[1]
        embedded = self.embedded[who, :steps] * present[..., groups.sequence]
        return self.answer(embedded, self.static[who] * fixed[:, groups.static], who)

    def cells(self, groups: Groups) -> tuple[Tensor, Tensor]:
        """Return bool [B, T, F] and [B, G]: the cells that there are, padding left out."""
        features, static = groups.sizes
        real = real_steps(self.lengths, self.embedded.shape[1])
        return real[..., None].expand(-1, -1, features), torch.ones(
            len(self), static, dtype=torch.bool, device=real.device
        )


def ask(model: SequenceModel, batch: SequenceBatch, index: Tensor | None = None) -> Question:
    """Return the question about a model's output for each person of a batch.

    Args:
        model: in evaluation mode.
        batch: B people, at least one.
        index: int64 [B, d], which output; by default what the kind's score chooses.
    """
    score = SCORES[model.shape.task]
    with torch.no_grad():
        embedded = model.embed(batch.inputs)
        if index is None:
            index = score.index(model, batch)
    return Question(score.forward(model), embedded, batch.lengths, batch.static, index)


@contextlib.contextmanager
def plain_backward(device: torch.device) -> Iterator[None]:
    """cuDNN has no backward pass of recurrent layers in evaluation mode: off for this call."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=False):
        yield


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Let a model be explained in the middle of anything else.

    Inside: evaluation mode, no gradient of weights, no hook of the private engine and no tape.
    After: all as before.
    """
    modules, parameters = list(model.modules()), list(model.parameters())
    training = [module.training for module in modules]
    wanted = [parameter.requires_grad for parameter in parameters]
    tapes = [m.tape if isinstance(m, Recorded) else None for m in modules]
    hooks: list[dict[str, Any]] = [{k: getattr(m, k) for k in _HOOKS} for m in modules]
    device = parameters[0].device if parameters else torch.device("cpu")
    try:
        model.eval()
        model.requires_grad_(False)
        for module in modules:
            for name in _HOOKS:
                setattr(module, name, OrderedDict())
            if isinstance(module, Recorded):
                module.tape = None
        with plain_backward(device):
            yield
    finally:
        for parameter, want in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(want)
        for module, mode, tape, own in zip(modules, training, tapes, hooks, strict=True):
            module.training = mode
            for name, value in own.items():
                setattr(module, name, value)
            if isinstance(module, Recorded):
                module.tape = tape
