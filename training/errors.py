"""What training can run into, beside the service's own errors (``facesvc.errors``).

::

    CONFIG, DATA, RUN --train--> network    RequestError: a config, folder or option that can't be used
    step              --loss--->            TrainingCollapsed, TrainingDiverged
    RUN               --resume->            CheckpointUnusable
    RUN               --export->            ExportDiffers
"""

from facesvc.errors import FaceServiceError


class TrainingError(FaceServiceError):
    code, title = "training_error", "Training stopped"


class TrainingCollapsed(TrainingError):
    """All vectors moved to one point, where triplet loss equals its margin and its gradient is gone."""

    code, title = "training_collapsed", "Training collapsed"


class TrainingDiverged(TrainingError):
    """The loss is no longer a finite number."""

    code, title = "training_diverged", "Training diverged"


class CheckpointUnusable(TrainingError):
    """A checkpoint is damaged, or of another config, network or data set than it was asked to go on with."""

    code, title = "checkpoint_unusable", "Checkpoint unusable"


class ExportDiffers(TrainingError):
    """The exported network doesn't give the vectors that the trained one gives."""

    code, title = "export_differs", "Export differs from the network"
