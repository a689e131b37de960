"""Predicts with a trained model in NumPy, from nothing but the files of its job.

    pip install numpy safetensors
    cyxwiz job results last --out model
    python3 read_model.py model cars.csv > predictions.csv

Use it as it is, or as the place to look when a model moves to a program of its own: every kind of
layer is a function of a few lines below, with PyTorch's names and meanings. `model.json` says what
the layers are and how rows of data become numbers, `model.safetensors` holds the weights under the
names that `torch.nn.Sequential` would give them.

Rows come from a .csv file with a header, from an .npy file of features, or from a .txt file, of
which each window of characters is a row. Written is a line of outputs for each row (of a text: for
each of its positions): logits of classes, or values.
"""

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# ---- functions between layers -----------------------------------------------------------------


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "silu": lambda x: x * sigmoid(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}

# ---- layers: (x, its definition, its weights) to what it gives; rows are the first axis ----------


def pair(value):
    return value if isinstance(value, list) else [value, value]


def linear(x, w, b):
    return x @ w.T + b


def dense(x, spec, w):
    return linear(x, w["weight"], w["bias"])


def windows(x, kernel, stride, padding, dilation, fill=0.0):
    """[rows, channels, height, width] to [rows, channels, to_height, to_width, *kernel]."""
    x = np.pad(x, [(0, 0), (0, 0), *padding], constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    view = view[:, :, :: stride[0], :: stride[1]]
    return view[..., :: dilation[0], :: dilation[1]]


def around(padding, kernel, dilation):
    """Zeros before and after, along height and along width."""
    if padding != "same":
        return [(p, p) for p in pair(padding)]
    both = [(k - 1) * d for k, d in zip(kernel, dilation)]
    return [(p // 2, p - p // 2) for p in both]


def conv2d(x, spec, w):
    kernel, dilation = pair(spec["kernel"]), pair(spec["dilation"])
    padding = around(spec["padding"], kernel, dilation)
    groups = spec["groups"]
    seen = windows(x, kernel, pair(spec["stride"]), padding, dilation)
    parts = zip(np.split(seen, groups, axis=1), np.split(w["weight"], groups))
    y = [np.einsum("nchwij,ocij->nohw", seen, filters, optimize=True) for seen, filters in parts]
    y = np.concatenate(y, axis=1)
    return y + w["bias"][:, None, None] if spec["bias"] else y


def max_pool2d(x, spec, w):
    return pool(x, spec, -np.inf).max(axis=(4, 5))


def avg_pool2d(x, spec, w):
    return pool(x, spec, 0.0).mean(axis=(4, 5))


def pool(x, spec, fill):
    kernel = pair(spec["kernel"])
    stride = pair(spec.get("stride") or kernel)
    return windows(x, kernel, stride, around(spec["padding"], kernel, [1, 1]), [1, 1], fill)


def batch_norm(x, spec, w):
    w = {name: values.reshape([-1] + [1] * (x.ndim - 2)) for name, values in w.items()}
    x = (x - w["running_mean"]) / np.sqrt(w["running_var"] + spec["epsilon"])
    return x * w["weight"] + w["bias"]


def layer_norm(x, spec, w):
    axes = tuple(range(-spec["axes"], 0))
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + spec["epsilon"]) * w["weight"] + w["bias"]


def attention(x, spec, w):
    rows, positions, dimensions = x.shape
    heads = spec["heads"]
    apart = linear(x, w["in_proj_weight"], w["in_proj_bias"])
    apart = apart.reshape(rows, positions, 3, heads, dimensions // heads)
    query, key, value = apart.transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(dimensions // heads)
    if spec["causal"]:
        later = np.triu(np.ones((positions, positions), dtype=bool), 1)
        scores = np.where(later, -np.inf, scores)
    mixed = (softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    return linear(mixed, w["out_proj.weight"], w["out_proj.bias"])


def gru(x, spec, w):
    def step(inputs, state):
        hidden = linear(state[0], w["weight_hh_l0"], w["bias_hh_l0"])
        r, z, n = np.split(inputs, 3, axis=-1)
        hidden_r, hidden_z, hidden_n = np.split(hidden, 3, axis=-1)
        r, z = sigmoid(r + hidden_r), sigmoid(z + hidden_z)
        return [(1 - z) * np.tanh(n + r * hidden_n) + z * state[0]]

    return recurrent(x, spec, w, step, 1)


def lstm(x, spec, w):
    def step(inputs, state):
        gates = inputs + linear(state[0], w["weight_hh_l0"], w["bias_hh_l0"])
        i, f, g, o = np.split(gates, 4, axis=-1)
        cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(cell), cell]

    return recurrent(x, spec, w, step, 2)


def recurrent(x, spec, w, step, states):
    inputs = linear(x, w["weight_ih_l0"], w["bias_ih_l0"])
    state = [np.zeros((len(x), spec["units"]))] * states
    outputs = []
    for time in range(x.shape[1]):
        state = step(inputs[:, time], state)
        outputs.append(state[0])
    return np.stack(outputs, axis=1) if spec["return_sequences"] else outputs[-1]


def residual(x, spec, w):
    y = run(x, spec["layers"], within(w, "layers"))
    projection = within(w, "projection")
    if not projection:
        return y + x
    if projection["weight"].ndim == 2:
        return y + dense(x, {}, projection)
    stride = [-(-before // after) for before, after in zip(x.shape[2:], y.shape[2:])]
    one = {"kernel": 1, "dilation": 1, "padding": 0, "groups": 1, "bias": True, "stride": stride}
    return y + conv2d(x, one, projection)


LAYERS = {
    "dense": dense,
    "conv2d": conv2d,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": lambda x, spec, w: x.mean(axis=(2, 3)),
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "dropout": lambda x, spec, w: x,
    "flatten": lambda x, spec, w: x.reshape(len(x), -1),
    "reshape": lambda x, spec, w: x.reshape(len(x), *spec["shape"]),
    "activation": lambda x, spec, w: ACTIVATIONS[spec["function"]](x),
    "embedding": lambda x, spec, w: w["weight"][x.astype(int)],
    "positional_embedding": lambda x, spec, w: x + w["weight"],
    "attention": attention,
    "gru": gru,
    "lstm": lstm,
    "residual": residual,
}


def within(weights, place):
    """Weights of what lies at `place`, by their names there."""
    start = f"{place}."
    return {name[len(start) :]: w for name, w in weights.items() if name.startswith(start)}


def run(x, layers, weights):
    """An activation that is written within a layer counts as a layer of its own."""
    place = 0
    for spec in layers:
        x = LAYERS[spec["type"]](x, spec, within(weights, place))
        place += 1
        if spec["type"] != "activation" and spec.get("activation"):
            x = ACTIVATIONS[spec["activation"]](x)
            place += 1
    return x


# ---- from files to rows --------------------------------------------------------------------------


def rows_of(model, file):
    """Features of the rows in a file, before they are scaled."""
    if file.suffix == ".npy":
        rows = np.load(file)
        return rows.reshape(len(rows), -1).astype(float)
    if file.suffix == ".txt":
        place = {character: i for i, character in enumerate(model["encoding"]["vocabulary"])}
        context = model["encoding"]["context"]
        ids = [place[character] for character in file.read_text(encoding="utf-8")]
        rows = [ids[at : at + context] for at in range(0, len(ids) - context + 1, context)]
        return np.array(rows, dtype=float)
    with open(file, newline="", encoding="utf-8") as opened:
        table = list(csv.DictReader(opened))
    numbers = [{"type": "number", "name": name} for name in model["feature_names"]]
    columns = model.get("encoding", {"columns": numbers})["columns"]
    return np.array([[value for column in columns for value in encoded(row, column)] for row in table])


def encoded(row, column):
    text = row[column["name"]].strip()
    if column["type"] == "one_hot":
        return [float(text == category) for category in column["categories"]]
    if text.lower() in ("", "na", "n/a", "nan", "none", "null", "?"):
        return [column["missing"]]
    return [float(text)]


def predict(folder, file):
    """Names of the outputs, and the outputs for each row of a file."""
    folder = Path(folder)
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "model.safetensors")
    weights = {name: values.astype(float) for name, values in weights.items()}
    scaling = model["scaling"]
    x = (rows_of(model, Path(file)) - np.array(scaling["offset"])) * np.array(scaling["factor"])
    x = x.reshape(-1, *model["input_shape"])
    outputs = [run(part, model["model"]["layers"], weights) for part in np.array_split(x, math.ceil(len(x) / 64))]
    ((_, names),) = model["outputs"].items()
    return names, np.concatenate(outputs)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python3 read_model.py FOLDER-OF-THE-MODEL DATA.csv|.npy|.txt")
    names, outputs = predict(sys.argv[1], sys.argv[2])
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(outputs.reshape(-1, len(names)).tolist())
