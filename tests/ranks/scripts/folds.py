"""Two folds, each a training and a test of two ranks in a run of its own: `folds.py STRATEGY`."""

import json
import os
import sys

from tests.ranks.small import Base, loader, trainer

import tracelet_otel as tracelet


class Module(Base):
    def __init__(self, fold):
        super().__init__()
        self.fold = fold

    def on_train_start(self):
        tracelet.get_active_run().log_metric("by hand", 10.0 * self.fold + self.global_rank, 0)

    def training_step(self, batch, batch_idx):
        self.log("fold", float(self.fold))
        self.log("rank", float(self.global_rank))
        return self.layer(batch).mean()

    def test_step(self, batch, batch_idx):
        self.log("test", 10.0 * self.fold + self.global_rank)


if __name__ == "__main__":
    with tracelet.start_logging("folds", config={"runs": "trainer", "export_interval": 0.2}) as run:
        for fold in range(2):
            of_two = trainer(devices=2, strategy=sys.argv[1])
            of_two.fit(Module(fold), loader())
            of_two.test(of_two.lightning_module, loader(), verbose=False)
    with open(f"errors.{os.environ.get('LOCAL_RANK', '-')}", "w") as file:  # noqa: PTH123
        json.dump(run.errors, file)
