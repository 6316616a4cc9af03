"""Three runs one after the other, of rank 0 alone, of rank 0 and then both, and of both."""

import os

from tests.ranks.small import Base, loader, trainer

import tracelet_otel as tracelet

data = loader()


class Module(Base):
    def training_step(self, batch, batch_idx):
        self.log("rank", float(self.trainer.global_rank) + 1)
        return self.layer(batch).mean()

    def test_step(self, batch, batch_idx):
        self.log("test", 1.0)


with tracelet.start_logging("alone") as run:
    run.log_metric("by hand", 1, 0)
    trainer(devices=1).fit(Module(), data)
run = tracelet.start_logging("both")
run.log_metric("before", 1 + int(os.environ.get("LOCAL_RANK", "0")), 0)
if "LOCAL_RANK" not in os.environ:  # as where a checkpoint is not there yet
    trainer(devices=1).fit(Module(), data)
trainer(devices=2, strategy="ddp").fit(Module(), data)
run.log_metric("after", 1 + int(os.environ["LOCAL_RANK"]), 0)
if os.environ["LOCAL_RANK"] == "0":
    trainer(devices=1).test(Module(), data, verbose=False)
run = tracelet.start_logging("again")
run.log_metric("between", 1 + int(os.environ["LOCAL_RANK"]), 0)
trainer(devices=2, strategy="ddp").fit(Module(), data)
run.stop()
assert not run.errors, run.errors
