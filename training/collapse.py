"""Tells when triplet training has collapsed: every vector at one point, the loss stuck at its margin."""

from dataclasses import dataclass

from training.errors import TrainingCollapsed, TrainingDiverged


@dataclass
class CollapseWatch:
    """Counts steps at which the loss is within ``tolerance`` (a share) of the margin, or there is no triplet, while the
    vectors' mean squared distance is under ``spread``; ``steps`` of them in a row are a collapse.

    At one point all distances are 0 and every triplet costs exactly the margin, with no gradient that leads away
    (FaceNet, section 3.2, on hardest negatives early in training); semi-hard mining, whose window is open, finds no
    triplet at all where the distances are equal to the last bit. A loss near the margin alone is no collapse: with
    hard negatives it is usual early on, with the vectors well apart.
    """

    margin: float
    steps: int = 50
    tolerance: float = 0.05
    spread: float = 0.01
    stuck: int = 0

    def see(self, loss: float, triplets: int, spread: float) -> None:
        """To be told of each step. Raises TrainingCollapsed, or TrainingDiverged where the loss is not finite."""
        if not abs(loss) < float("inf"):
            raise TrainingDiverged(f"the loss is {loss}: lower the rate, clip gradients harder or warm up longer")
        near = triplets == 0 or abs(loss - self.margin) <= self.tolerance * self.margin
        self.stuck = self.stuck + 1 if near and spread < self.spread else 0
        if self.stuck >= self.steps:
            raise self._collapsed(loss, spread)

    def _collapsed(self, loss: float, spread: float) -> TrainingCollapsed:
        return TrainingCollapsed(
            f"for {self.stuck} steps the loss has stayed at the margin ({loss:.3f}, margin {self.margin:g}) with all "
            f"vectors at nearly one point (mean squared distance {spread:.1e}). Usual causes: a rate too high, hard "
            "negatives from the first step, batches too small to hold a useful negative. Remedies: a lower rate or "
            "longer warm-up, rule semi-hard first, more identities per batch"
        )
