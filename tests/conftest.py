"""What every test shares."""

import torch

# Several test processes share the cores: one thread each is faster for all.
torch.set_num_threads(1)
