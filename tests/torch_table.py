"""Which published modules are translated: the table of docs/pytorch.md, by `python tests/torch_table.py`."""

import torch
import torch_modules

import fastmoments as fm


def table():
    """A row for each: what it becomes, or the sentence that refuses it."""
    rows = ["| module | translated |", "|---|---|"]
    for name, make in torch_modules.MODULES.items():
        torch.manual_seed(0)
        try:
            net = fm.from_torch(make(), torch.zeros(1, 3, 32, 32))
            said = f"yes, {net.depth} units of depth"
        except ValueError as problem:
            said = f"no: {problem}"
        rows.append(f"| {name} | {said} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
