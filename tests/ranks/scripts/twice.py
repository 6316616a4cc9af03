"""A training and a test of two ranks each, for which a launcher starts processes twice: `twice.py STRATEGY`."""

import sys

from tests.ranks.small import Base, loader, trainer

import tracelet_otel as tracelet


class Module(Base):
    def training_step(self, batch, batch_idx):
        self.log("train", 10.0 * self.global_rank)
        tracelet.get_active_run().set_tags({"rank": str(self.global_rank)})
        return self.layer(batch).mean()

    def test_step(self, batch, batch_idx):
        self.log("test", 10.0 * self.global_rank)


if __name__ == "__main__":
    data = loader()
    with tracelet.start_logging("twice", config={"tags": {"stage": "begins", "team": "vision"}}) as run:
        run.set_tags({"stage": "trains"})
        of_two = trainer(devices=2, strategy=sys.argv[1])
        of_two.fit(Module(), data)
        of_two.test(Module(), data, verbose=False)
    assert not run.errors, run.errors
