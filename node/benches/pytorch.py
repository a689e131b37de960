"""The models of `cyxwiz bench training` on PyTorch, as its users write them.

Called with the folder of the data, the name of a model and a number of threads. Trains one epoch
for each line on standard input, and answers with its mean loss.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

BATCH = 128


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class Attention(nn.MultiheadAttention):
    def __init__(self, dimensions, heads):
        super().__init__(dimensions, heads, batch_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return super().forward(x, x, x, need_weights=False, attn_mask=mask, is_causal=True)[0]


class Positional(nn.Module):
    def __init__(self, positions, dimensions):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(positions, dimensions))

    def forward(self, x):
        return x + self.weight


def block():
    return [
        Residual(nn.LayerNorm(64), Attention(64, 4)),
        Residual(nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)),
    ]


def model(name):
    if name == "mlp":
        layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(256, 10))
    if name == "cnn":
        layers = [nn.Unflatten(1, (1, 28, 28))]
        layers += [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10))
    ends = [nn.LayerNorm(64), nn.Linear(64, 64)]
    return nn.Sequential(nn.Embedding(64, 64), Positional(32, 64), *block(), *block(), *ends)


def safetensors(path):
    """The tensors of a file, by name; the format is a length, a JSON header and the bytes."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, end = (begin + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[first:end], "<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def main():
    folder, name, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    x, y = (torch.from_numpy(np.load(folder / file)) for file in ("x.npy", "y.npy"))
    x, y = (x.float() * 0.00392 if name != "transformer" else x.long()), y.long()
    network = model(name)
    network.load_state_dict(safetensors(folder / "start.safetensors"))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)
    criterion = nn.CrossEntropyLoss()
    for _ in sys.stdin:
        total = 0.0
        order = torch.randperm(len(x))
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            output = network(x[rows])
            loss = criterion(output.flatten(0, -2), y[rows].flatten())
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(json.dumps({"loss": total / len(x)}), flush=True)


main()
