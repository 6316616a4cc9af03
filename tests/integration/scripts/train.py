"""A training that has never heard of us."""

import lightning.pytorch as pl
from tests.support.trainings import Training

Training()(pl, False)
