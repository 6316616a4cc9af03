"""A training with Fabric that has never heard of us: `PACKAGE`, `STRATEGY`, `DEVICES`, and what `ENDS` it.

It leaves what Fabric's own logger got in `csv`.
"""

import importlib
import os
import time

fabrics = importlib.import_module(os.environ.get("PACKAGE", "lightning.fabric"))
loggers = importlib.import_module(f"{fabrics.__name__}.loggers")
import torch  # noqa: E402

ENDS = os.environ.get("ENDS", "")


def work(fabric):
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), 0.05))
    if ENDS == "before the first row":
        raise ArithmeticError("diverged")
    for step in range(6):
        loss = (model(torch.randn(2, 4) + fabric.global_rank) ** 2).mean()
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        fabric.log("loss", loss)
        fabric.log_dict({"rank": 1.0 + fabric.global_rank, "twice": loss * 2}, step=10 * step)
    if fabric.is_global_zero:
        fabric.logger.save()
    if ENDS == "when it is killed":
        print("ready", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    strategy = os.environ.get("STRATEGY", "auto")
    logger = loggers.CSVLogger("csv", flush_logs_every_n_steps=10_000)
    devices = int(os.environ.get("DEVICES", "1"))
    fabric = fabrics.Fabric(accelerator="cpu", devices=devices, strategy=strategy, loggers=logger)
    if strategy == "ddp_fork":
        fabric.launch(work)
    else:
        fabric.launch()
        work(fabric)
