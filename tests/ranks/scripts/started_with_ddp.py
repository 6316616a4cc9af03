"""A script with a run starts itself as one that does not know us, and that trains with two ranks."""

import subprocess
import sys

if len(sys.argv) > 1:
    import lightning.pytorch as pl
    from tests.support.quiet import quiet_trainer
    from tests.support.trainings import loader, regression

    class Ranks(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            pl_module.log("rank", float(trainer.global_rank))

    quiet_trainer(pl, max_epochs=1, strategy="ddp", devices=2, callbacks=[Ranks()]).fit(regression(pl), loader())
else:
    import tracelet_otel as tracelet

    with tracelet.start_logging("script", config={"export_interval": 0.1, "track_system": False}):
        subprocess.run([sys.executable, __file__, "train"], check=True)
