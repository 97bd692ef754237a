"""Training: one network, in plain PyTorch."""

from orchestrator.training.checkpoint import (
    SnapshotFile,
    decode_resume_state,
    encode_resume_state,
    encode_snapshot,
    read_snapshot,
    write_snapshot,
)
from orchestrator.training.events import (
    Checkpoint,
    EpochEnd,
    Event,
    Finished,
    ResumeState,
    StopReason,
)
from orchestrator.training.loop import train
from orchestrator.training.losses import Loss, build_loss
from orchestrator.training.update_rule import UpdateRule, update_rule_at

__all__ = [
    "Checkpoint",
    "EpochEnd",
    "Event",
    "Finished",
    "Loss",
    "ResumeState",
    "SnapshotFile",
    "StopReason",
    "UpdateRule",
    "build_loss",
    "decode_resume_state",
    "encode_resume_state",
    "encode_snapshot",
    "read_snapshot",
    "train",
    "update_rule_at",
    "write_snapshot",
]
