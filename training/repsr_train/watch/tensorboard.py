"""TensorBoard: the rows of the metrics as scalars, and the sample pictures."""

from __future__ import annotations

from pathlib import Path

from repsr_train.trainer import Report
from repsr_train.watch.metrics import row_of
from repsr_train.watch.samples import file_name, strip


class TensorBoard:
    """Writes event files into a folder; `step` is where the run goes on, events of later steps are hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def reported(self, report: Report) -> None:
        """Add a report."""
        row = row_of(report)
        scalars = {key: row[key] for key in ("loss", "lr", "images_per_s", "psnr_y") if row.get(key) is not None}
        scalars |= {f"degraded/{kind}": value for kind, value in row.get("degraded", {}).items()}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, report.step)
        if report.validation is not None:
            for index, sample in enumerate(report.validation.samples):
                self._writer.add_image(file_name(index, sample), strip(sample), report.step, dataformats="HWC")
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
