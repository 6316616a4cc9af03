import time

import lightning.pytorch as pl

trainer = pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
for step in range(100):
    trainer._logger_connector.log_metrics({"loss": step / 3}, step=step)
print("ready", flush=True)
time.sleep(600)
