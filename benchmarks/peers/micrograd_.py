"""micrograd, with the programs its users write."""

from functools import partial

from ..engines import MICROGRAD
from ..programs import gpt_step, moons_step
from .workloads import GPT, MOONS

STEPS = {MOONS: partial(moons_step, MICROGRAD), GPT: partial(gpt_step, MICROGRAD)}
