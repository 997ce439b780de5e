# SPDX-License-Identifier: Apache-2.0
"""What a run is told besides its config."""

import dataclasses
from collections.abc import Callable

MODES = ("train", "eval", "train_and_eval", "continuous_eval")
# Chooses settings of post-processing; no value of --mode.
TUNE = "tune"
TRAINING_MODES = ("train", "train_and_eval")

# Called with the step reached and the values since the call before.
OnStep = Callable[[int, dict[str, float]], None]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """The devices of a run, and what it may change in its folder.

    Attributes:
        master: Name or address of a TPU, "local" on a TPU VM; "" for none.
        num_gpus: Number of GPUs; -1 for all, 0 for the CPU.
        allow_config_change: Whether to continue in a folder that another
            config made.
        repair_checkpoint_state: Whether to rewrite the state file of the
            checkpoints first.
        report: Whether evaluations write a page, `eval/report.html`.
        compare_with: Folder of another run that the page compares with; ""
            for none.
        profile_steps: Steps of which a trace is written, "START:END"; "" for
            none.
        began: When the program began, in seconds since 1970, for the ledger;
            None: with the call.
    """

    master: str = ""
    num_gpus: int = 0
    allow_config_change: bool = False
    repair_checkpoint_state: bool = False
    report: bool = False
    compare_with: str = ""
    profile_steps: str = ""
    began: float | None = None
