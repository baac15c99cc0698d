"""Which numbers of a model the gradients of some rows can be anything but 0 in.

A table that is only looked up gets a gradient in the rows of its tokens, and no others. Of a
vocabulary of twenty thousand, a hundred rows hold two thousand; the rest of an attacker's
gradients would be zeros, which cost as much to add and multiply as any number.

n rows, V tokens of a table, v that occur, W parameters.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from rnn.records import EmbeddingRecord, Gradients, Record
from rnn.tape import Tape, recording


class Reach:
    """What the gradients of the rows that it has seen can touch; all of a model before that."""

    def __init__(self) -> None:
        """Begin with everything."""
        self.tokens: dict[int, Tensor] = {}

    @classmethod
    def of(cls, model: nn.Module, passes: Iterable[Callable[[], Tensor]]) -> "Reach":
        """Return the reach of some passes.

        Args:
            model: whose layers they call.
            passes: each computes the losses of some rows.
        """
        found = cls()
        elsewhere: set[int] = set()
        for losses in passes:
            with torch.enable_grad(), recording(model) as tape:
                losses()
            found._take(tape, elsewhere)
        for parameter in elsewhere:
            found.tokens.pop(parameter, None)
        return found

    def _take(self, tape: Tape, elsewhere: set[int]) -> None:
        """Add the tokens of one pass, and the parameters that are used in another way too."""
        for record in tape.records:
            if not isinstance(record, EmbeddingRecord):
                elsewhere.update(id(p) for p in record.parameters)
            elif record.parameters:
                # Padding comes and goes with the rows that a pass puts together.
                padding = [] if record.padding is None else [record.padding]
                parts = [record.tokens.flatten(), record.tokens.new_tensor(padding)]
                known = self.tokens.get(id(record.weight))
                parts += [] if known is None else [known]
                self.tokens[id(record.weight)] = torch.cat(parts).unique()

    def shape(self, parameter: nn.Parameter) -> tuple[int, ...]:
        """Return the shape of a parameter's part that can be reached; [v, E] of a table [V, E]."""
        tokens = self.tokens.get(id(parameter))
        return tuple(parameter.shape) if tokens is None else (len(tokens), *parameter.shape[1:])

    def sizes(self, parameters: Sequence[nn.Parameter]) -> list[int]:
        """Return how many numbers of each parameter can be reached."""
        return [torch.Size(self.shape(p)).numel() for p in parameters]

    def columns(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Return int64 [numbers that can be reached], their places among all W numbers.

        Args:
            parameters: in the order in which they make W.
        """
        parts, start = [], 0
        for parameter in parameters:
            places = torch.arange(start, start + parameter.numel(), device=parameter.device)
            tokens = self.tokens.get(id(parameter))
            if tokens is not None:
                places = places.view(parameter.shape)[tokens].flatten()
            parts.append(places)
            start += parameter.numel()
        return torch.cat(parts)

    def per_example(self, record: Record) -> Gradients:
        """Return each parameter of a record with the part [n, *shape] of the rows' gradients.

        Raises:
            RuntimeError: a row has a token that no row had before. No ValueError, which stands for
                an attack that a recipe cannot have: this is a fault, and nothing may go on.
        """
        if isinstance(record, EmbeddingRecord) and id(record.weight) in self.tokens:
            return [(record.weight, record.tables(self.tokens[id(record.weight)]))]
        return record.per_example(slice(None))
