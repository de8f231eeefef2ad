"""What is changed about methods that lose more than their papers say, to see what the losses come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Change:
    """One method with something about it switched off or set otherwise.

    Attributes:
        method: its name.
        words: what is changed.
        options: of the method, beside the budget.
        keep: the budget at which both are compared.
    """

    method: str
    words: str
    options: Mapping[str, Any]
    keep: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))


CHANGES = (
    Change("fastervlm", "ranked by the attention of all patches", {"source": "received"}),
    Change("visiondrop", "no step inside the decoder", {"left": (1.0, 1.0, 1.0)}),
    Change("visiondrop", "nothing is merged", {"contextual": (0.0, 0.0, 0.0, 0.0)}),
    Change("stc", "the tower runs in full", {"interval": 1}),
    Change("holitom", "nothing is taken for still", {"tau": 1.5}),
    Change("holitom", "hardly anything is taken for still", {"tau": 0.95}),
    Change("holitom", "no step inside the decoder", {"inner_keep": 1.0}),
    Change("holitom", "clusters are their centres", {"centre": 1.0}),
    Change("aim", "no tokens dropped inside the decoder", {"first": 1.0, "stop": 1.0}),
    Change("aim", "walks compared with even attention", {"score": "null"}),
    # As much work, but none of it ranked by the first layer; for the nano's six layers.
    Change("psigmoid", "first ranking by layer 1", {"schedule": (1.0, 1.0, 0.25, 0.25, 0.25, 0.25)}, keep=0.5),
)
